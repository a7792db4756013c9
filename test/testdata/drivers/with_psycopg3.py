"""What psycopg 3 does, by libpq and its pipeline mode. See drivers_test.go."""
import hashlib
import pathlib
import sys
import threading
import time

import psycopg
from psycopg.types.json import Jsonb

HERE = pathlib.Path(__file__).parent


def say(*words):
    print(*words, flush=True)


def fault(e):
    d = e.diag
    return " | ".join(str(x) for x in (
        d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint, d.statement_position,
        d.table_name, d.column_name, d.constraint_name, d.context))


def connect(**more):
    # Everything else comes from libpq's own environment variables.
    return psycopg.connect("", autocommit=True, **more)


def attempt(what, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except psycopg.Error as e:
        say(what, type(e).__name__, fault(e) if e.diag.sqlstate else str(e).strip())
    else:
        say(what, "succeeded")


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()[:16]


def wait_for(f):
    deadline = time.monotonic() + 20
    while not f():
        if time.monotonic() > deadline:
            sys.exit("waited for too long")
        time.sleep(0.01)


def parity():
    notices = []
    c = connect()
    c.add_notice_handler(lambda d: notices.append((d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint)))

    say("== connect")
    for name in ("server_version", "server_encoding", "client_encoding", "standard_conforming_strings", "TimeZone",
                 "DateStyle", "IntervalStyle", "integer_datetimes", "is_superuser", "session_authorization", "application_name",
                 "default_transaction_read_only", "in_hot_standby"):
        say(name, c.info.parameter_status(name))
    say(c.execute("SELECT current_user, session_user, current_database()").fetchone(), c.info.transaction_status)

    types = (HERE / "types.sql").read_text()
    for binary in (False, True):
        say("== binary" if binary else "== text")
        cur = c.cursor(binary=binary)
        cur.execute(types)
        for d in cur.description:
            say(d.name, d.type_code, d.internal_size, d.precision, d.scale)
        result = cur.pgresult
        for i in range(result.nfields):
            say(i, result.fformat(i), result.ftable(i), result.ftablecol(i), result.get_value(0, i))
        cur.execute("SELECT id, item, amount, placed FROM orders ORDER BY id LIMIT 5")
        for row in cur:
            say(*row)
        say(cur.rowcount, cur.statusmessage, cur.pgresult.ftablecol(1))
        params = (None, True, -5, 2 ** 40, 2.25, "it's", b"\x00\xff", [1, None, 3], ["a", None], Jsonb({"k": [1]}))
        cur.execute("SELECT " + ", ".join(["%b" if binary else "%t"] * len(params)), params) if not binary else \
            cur.execute("SELECT %b::bytea, %b::int8", (b"\x00\xff", 2 ** 40))
        say(cur.fetchone())

    say("== prepared")
    c.prepare_threshold = 2
    c.execute("CREATE TABLE drivers.p (a int, b text)")
    for i in range(8):
        say(c.execute("INSERT INTO drivers.p VALUES (%s, %s) RETURNING *", (i, None if i == 3 else f"row {i}")).fetchone())
    for i in range(6):
        say(c.execute("SELECT * FROM drivers.p WHERE a = %s", (i,)).fetchall())
    say(c.execute("SELECT count(*), sum(cardinality(parameter_types)) FROM pg_prepared_statements").fetchone())
    c.execute("ALTER TABLE drivers.p ADD COLUMN c int")
    for i in range(3):
        attempt(f"changed type {i}:", lambda: say(c.execute("SELECT * FROM drivers.p WHERE a = %s", (i,)).fetchall()))
    c.execute("DEALLOCATE ALL")
    attempt("by SQL:", c.execute, "PREPARE own (int) AS SELECT a, b FROM drivers.p WHERE a < $1 ORDER BY a", prepare=False)
    say(c.execute("EXECUTE own (3)", prepare=False).fetchall())
    with c.cursor() as cur:
        cur.executemany("INSERT INTO drivers.p (a) VALUES (%s)", [(n,) for n in range(100, 120)])
        say(cur.rowcount)

    say("== pipeline")
    c.execute("CREATE TABLE drivers.q (a int PRIMARY KEY)")
    with c.pipeline() as p:
        a = c.execute("SELECT %s::int + 1", (1,))
        b = c.execute("INSERT INTO drivers.q SELECT generate_series(1, 5) RETURNING a")
        p.sync()
        d = c.execute("SELECT count(*) FROM drivers.q")
        say(a.fetchone(), b.fetchall(), d.fetchone())
    cursors = [c.cursor() for _ in range(6)]
    try:
        with c.pipeline():
            for i, cur in enumerate(cursors):
                cur.execute("INSERT INTO drivers.q VALUES (%s)", (10 + i if i != 3 else 1,))
    except psycopg.Error as e:
        say(type(e).__name__, fault(e))
    for i, cur in enumerate(cursors):
        say(i, cur.statusmessage, cur.rowcount)
    say(c.info.transaction_status, c.execute("SELECT a FROM drivers.q ORDER BY a").fetchall())
    with c.pipeline() as p:
        for i in range(4):
            attempt(f"piece {i}:", c.execute, "INSERT INTO drivers.q VALUES (%s)", (20 + i if i != 1 else 1,))
            attempt(f"sync {i}:", p.sync)
    say(c.execute("SELECT a FROM drivers.q ORDER BY a").fetchall())
    with c.pipeline():
        many = [c.execute("SELECT %s::int, repeat('x', 1000)", (i,)) for i in range(1000)]
        say(sum(len(cur.fetchone()[1]) for cur in many), many[-1].statusmessage)

    say("== copy")
    c.execute("CREATE TABLE drivers.c (a int, b text, c timestamptz)")
    with c.cursor() as cur:
        with cur.copy("COPY drivers.c FROM STDIN") as copy:
            copy.write_row((1, "tab\there", "2026-01-01"))
            copy.write_row((2, None, None))
            copy.write_row((3, "back\\slash\nline", None))
        say(cur.rowcount, cur.statusmessage)
        with cur.copy("COPY drivers.c FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "timestamptz"])
            for i in range(4, 3000):
                copy.write_row((i, "b" * (i % 50), None))
        say(cur.rowcount)
        for options in ("", "(FORMAT csv, HEADER)", "(FORMAT binary)"):
            with cur.copy(f"COPY (SELECT * FROM drivers.c ORDER BY a) TO STDOUT {options}") as copy:
                say(options, *digest(b"".join(copy)))
            say(cur.rowcount, cur.statusmessage)
        with cur.copy("COPY drivers.c TO STDOUT") as copy:
            say(*list(copy.rows())[:1])
        attempt("bad line:", copy_in, cur, "COPY drivers.c FROM STDIN", "1\tx\t\\N\nword\ty\t\\N\n")
        attempt("no table:", copy_in, cur, "COPY drivers.nowhere FROM STDIN", "1\n")
        attempt("given up:", give_up, cur)
    say(c.execute("SELECT count(*), min(b), max(a) FROM drivers.c").fetchone())

    say("== cancel")
    other = connect()
    mine = c.execute("SELECT pg_backend_pid()").fetchone()[0]
    canceller = threading.Thread(target=lambda: (wait_for(lambda: other.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE '%%pg_sleep%%'", (mine,)).fetchone()[0]), c.cancel()))
    canceller.start()
    attempt("sleep:", c.execute, "SELECT pg_sleep(60)")
    canceller.join()
    say(c.execute("SELECT 'still here'").fetchone())
    c.cancel()  # nothing runs: nothing happens
    say(c.execute("SELECT 'and here'").fetchone())

    say("== notices")
    c.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second' USING HINT = 'a hint', DETAIL = 'a detail'; RAISE INFO 'third'; RAISE DEBUG 'hidden'; END $$")
    c.execute("DROP TABLE IF EXISTS drivers.missing")
    say(notices)

    say("== large objects")
    with c.transaction():
        oid = c.execute("SELECT lo_from_bytea(0, %s)", (b"large " * 5000,)).fetchone()[0]
        fd = c.execute("SELECT lo_open(%s, 393216)", (oid,)).fetchone()[0]
        say(fd, c.execute("SELECT loread(%s, 12)", (fd,)).fetchone(), c.execute("SELECT lo_lseek(%s, 0, 2)", (fd,)).fetchone())
        say(c.execute("SELECT lowrite(%s, %s), lo_tell(%s)", (fd, b"end", fd)).fetchone())
        say(*digest(c.execute("SELECT lo_get(%s)", (oid,)).fetchone()[0]))
        say(c.execute("SELECT lo_unlink(%s)", (oid,)).fetchone())

    say("== notify")
    c.execute("LISTEN news")
    other.execute("SELECT pg_notify('news', 'from another'), pg_notify('news', repeat('x', 7000))")
    heard = c.notifies()
    theirs = other.execute("SELECT pg_backend_pid()").fetchone()[0]
    for _ in range(2):
        n = next(heard)
        say(n.channel, n.payload[:20], len(n.payload), n.pid == theirs)
    heard.close()
    c.execute("UNLISTEN *")

    say("== transactions")
    try:
        with c.transaction():
            c.execute("CREATE TABLE drivers.t (a int PRIMARY KEY)")
            c.execute("INSERT INTO drivers.t VALUES (1)")
            with c.transaction() as inner:
                c.execute("INSERT INTO drivers.t VALUES (2)")
                raise psycopg.Rollback(inner)
            attempt("duplicate:", nested, c, "INSERT INTO drivers.t VALUES (1)")
            say(c.info.transaction_status, c.execute("SELECT a FROM drivers.t").fetchall())
            attempt("broken:", c.execute, "SELECT 1/0")
            say(c.info.transaction_status)
            attempt("aborted:", c.execute, "SELECT 1")
            raise KeyError
    except KeyError:
        say("rolled back", c.info.transaction_status)
    attempt("gone:", c.execute, "SELECT * FROM drivers.t")
    c.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with c.transaction():
        say(c.execute("SHOW transaction_isolation").fetchone())
    c.isolation_level = None
    with c.transaction(), c.cursor("named") as cur:
        cur.itersize = 7
        cur.execute("SELECT n FROM generate_series(1, 50) n")
        say(sum(row[0] for row in cur))
        cur.scroll(10, mode="absolute")
        say(cur.fetchone())
    attempt("two in one:", c.execute, "SELECT 1; SELECT 2", prepare=False)
    cur = c.execute("SELECT 1; INSERT INTO drivers.q VALUES (99); SELECT 2")
    while True:
        say(cur.statusmessage, cur.fetchall() if cur.description else None)
        if not cur.nextset():
            break
    attempt("half:", c.execute, "INSERT INTO drivers.q VALUES (98); INSERT INTO drivers.q VALUES (98)")
    say(c.execute("SELECT count(*) FROM drivers.q WHERE a = 98").fetchone())
    attempt("syntax:", c.execute, "SELEC 1")
    attempt("empty:", c.execute, "")

    say("== big")
    c.execute("CREATE TABLE drivers.b (t text, y bytea)")
    text, data = "0123456789abcdef" * (10 * 1024 * 64), bytes(range(256)) * (10 * 1024 * 4)
    c.execute("INSERT INTO drivers.b VALUES (%s, %b)", (text, data))
    for binary in (False, True):
        row = c.cursor(binary=binary).execute("SELECT * FROM drivers.b").fetchone()
        say(*digest(row[0].encode()), *digest(row[1]))
    say(*digest("".join(r[0] for r in c.execute("SELECT repeat('y', 1000) FROM generate_series(1, 20000)")).encode()))
    say("== end")


def copy_in(cur, statement, data):
    with cur.copy(statement) as copy:
        copy.write(data)


def give_up(cur):
    with cur.copy("COPY drivers.c FROM STDIN") as copy:
        copy.write("1\tx\t\\N\n")
        raise psycopg.DataError("the program gave up")


def nested(c, statement):
    with c.transaction():
        c.execute(statement)


def denied(what, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except psycopg.Error as e:
        say(what, e.diag.sqlstate, (e.diag.message_primary or str(e)) if e.diag.sqlstate == "42501" else "")
    else:
        say(what, "succeeded")


def show(row):
    return " | ".join("NULL" if v is None else str(v) for v in row)


def controls():
    c = connect()
    c.prepare_threshold = 2
    masked = "SELECT id, name, email, phone, card_number, joined, notes FROM customers WHERE id <= 3 ORDER BY id"
    for row in c.execute(masked):
        say("text:", show(row))
    for row in c.cursor(binary=True).execute(masked):
        say("binary:", show(row))
    for _ in range(7):
        say("prepared:", show(c.execute("SELECT email, phone FROM customers WHERE id = %s", (1,)).fetchone()))
    with c.cursor() as cur:
        with cur.copy("COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT") as copy:
            say("copy out:", b"".join(copy).decode().strip().replace("\t", " | "))
        with cur.copy("COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "text"])
            say("binary copy:", show(list(copy.rows())[0]))
    denied("denied:", c.execute, "DROP TABLE orders")
    denied("denied prepared:", c.execute, "DELETE FROM orders", prepare=True)
    say("alive:", c.execute("SELECT count(*) FROM orders").fetchone()[0])
    c.execute("BEGIN")
    c.execute("INSERT INTO orders VALUES (1000, 1, 'lamp', 1, now())")
    denied("denied in a transaction:", c.execute, "DELETE FROM orders")
    denied("then:", c.execute, "SELECT 1")
    c.execute("ROLLBACK")
    say("alive:", c.execute("SELECT count(*) FROM orders").fetchone()[0])
    c.execute("BEGIN")
    c.execute("INSERT INTO orders VALUES (1001, 1, 'lamp', 1, now())")
    c.execute("SAVEPOINT s")
    denied("denied after a savepoint:", c.execute, "DELETE FROM orders")
    c.execute("ROLLBACK TO s")
    say("back at it:", c.execute("SELECT count(*) FROM orders").fetchone()[0])
    c.execute("ROLLBACK")

    cursors = [c.cursor() for _ in range(4)]

    def several():
        with c.pipeline():
            for cur, statement in zip(cursors, ("SELECT 'one'", "DELETE FROM orders WHERE id = -1", "DELETE FROM orders", "SELECT 'four'")):
                cur.execute(statement)
    denied("denied in a pipeline:", several)
    say("pipeline results:", ", ".join(cur.statusmessage or "none" for cur in cursors))
    say("alive after a pipeline:", c.execute("SELECT count(*) FROM orders").fetchone()[0])
    denied("denied in several:", c.execute, "SELECT 1; DELETE FROM orders; SELECT 2")
    say("end:", c.execute("SELECT count(*) FROM orders").fetchone()[0])


{"parity": parity, "controls": controls}[sys.argv[1]]()

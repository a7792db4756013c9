"""What psycopg2 does: libpq, simple queries and text only. See drivers_test.go."""
import hashlib
import io
import pathlib
import select
import sys
import threading
import time

import psycopg2
import psycopg2.extensions
import psycopg2.extras

HERE = pathlib.Path(__file__).parent


def say(*words):
    print(*words, flush=True)


def fault(e):
    d = e.diag
    return " | ".join(str(x) for x in (
        e.pgcode, d.severity, d.message_primary, d.message_detail, d.message_hint, d.statement_position,
        d.table_name, d.constraint_name, d.context))


def connect():
    c = psycopg2.connect("")
    c.autocommit = True
    return c


def attempt(what, f, *args):
    try:
        f(*args)
    except psycopg2.Error as e:
        say(what, type(e).__name__, fault(e))
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


def one(cur, statement, *params):
    cur.execute(statement, params or None)
    return cur.fetchone()


def parity():
    c = connect()
    cur = c.cursor()

    say("== connect")
    for name in ("server_version", "server_encoding", "client_encoding", "standard_conforming_strings", "TimeZone", "DateStyle",
                 "IntervalStyle", "integer_datetimes", "is_superuser", "session_authorization", "application_name"):
        say(name, c.get_parameter_status(name))
    say(c.server_version, c.encoding, c.get_transaction_status(), one(cur, "SELECT current_user, current_database()"))

    say("== text")
    cur.execute((HERE / "types.sql").read_text())
    for d in cur.description:
        say(*d)
    say(*[str(v) if not isinstance(v, memoryview) else bytes(v) for v in cur.fetchone()])
    cur.execute("SELECT id, item, amount, placed FROM orders ORDER BY id LIMIT 5")
    say(cur.fetchall(), cur.rowcount, cur.statusmessage, cur.description[1].table_oid is not None, cur.description[1].table_column)
    cur.execute("CREATE TABLE drivers.p (a int, b text, c int[], d jsonb, e bytea)")
    for i in range(5):
        cur.execute("INSERT INTO drivers.p VALUES (%s, %s, %s, %s, %s) RETURNING *",
                    (i, None if i == 3 else f"it's % row {i}", [i, None], psycopg2.extras.Json({"k": i}), psycopg2.Binary(b"\x00\xff")))
        row = cur.fetchone()
        say(row[:4], bytes(row[4]))
    psycopg2.extras.execute_values(cur, "INSERT INTO drivers.p (a, b) VALUES %s", [(n, "v") for n in range(100, 300)], page_size=50)
    say(cur.rowcount, one(cur, "SELECT count(*) FROM drivers.p"))

    say("== prepared")
    cur.execute("PREPARE own (int) AS SELECT a, b FROM drivers.p WHERE a = $1")
    for i in range(7):
        say(one(cur, "EXECUTE own (%s)", i))
    cur.execute("ALTER TABLE drivers.p ALTER b TYPE varchar(50)")
    attempt("changed type:", one, cur, "EXECUTE own (1)")
    cur.execute("DEALLOCATE own")
    attempt("gone:", one, cur, "EXECUTE own (1)")

    say("== copy")
    cur.execute("CREATE TABLE drivers.c (a int, b text, c timestamptz)")
    cur.copy_expert("COPY drivers.c FROM STDIN", io.StringIO("1\ttab\\there\t2026-01-01\n2\t\\N\t\\N\n"))
    say(cur.rowcount)
    cur.copy_expert("COPY drivers.c FROM STDIN (FORMAT csv)", io.StringIO("".join(f'{i},"b ""{i}""",\n' for i in range(3, 5000))))
    say(cur.rowcount)
    for options in ("", "(FORMAT csv, HEADER)", "(FORMAT binary)"):
        out = io.BytesIO()
        cur.copy_expert(f"COPY (SELECT * FROM drivers.c ORDER BY a) TO STDOUT {options}", out)
        say(options, *digest(out.getvalue()), cur.rowcount)
    attempt("bad line:", cur.copy_expert, "COPY drivers.c FROM STDIN", io.StringIO("1\tx\t\\N\nword\ty\t\\N\n"))
    attempt("no table:", cur.copy_expert, "COPY drivers.nowhere FROM STDIN", io.StringIO("1\n"))

    class Broken:
        def read(self, _=0):
            raise ValueError("the program gave up")
    attempt("given up:", cur.copy_expert, "COPY drivers.c FROM STDIN", Broken())
    say(one(cur, "SELECT count(*), min(b), max(a) FROM drivers.c"))

    say("== cancel")
    other = connect()
    mine = one(cur, "SELECT pg_backend_pid()")[0]
    canceller = threading.Thread(target=lambda: (wait_for(lambda: one(
        other.cursor(), "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE '%%pg_sleep%%'", mine)[0]), c.cancel()))
    canceller.start()
    attempt("sleep:", one, cur, "SELECT pg_sleep(60)")
    canceller.join()
    say(one(cur, "SELECT 'still here'"))

    say("== notices")
    cur.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second' USING HINT = 'a hint'; RAISE DEBUG 'hidden'; END $$")
    cur.execute("DROP TABLE IF EXISTS drivers.missing")
    say(c.notices)

    say("== large objects")
    c.autocommit = False
    lo = c.lobject(0, "wb")  # psycopg2 uses libpq's functions, which use the protocol's FunctionCall
    say(lo.write(b"large " * 5000), lo.tell())
    oid = lo.oid
    lo.close()
    lo = c.lobject(oid, "rb")
    say(*digest(lo.read()), lo.seek(6), lo.read(5))
    lo.close()
    lo = c.lobject(oid, "rwb")
    lo.truncate(10)
    say(lo.seek(0, 2))
    lo.unlink()
    c.commit()
    attempt("unlinked:", c.lobject, oid, "rb")
    c.rollback()
    c.autocommit = True

    say("== notify")
    cur.execute("LISTEN news")
    other.cursor().execute("SELECT pg_notify('news', 'from another'), pg_notify('news', repeat('x', 7000))")
    theirs = one(other.cursor(), "SELECT pg_backend_pid()")[0]

    def heard():
        select.select([c], [], [], 1)
        c.poll()
        return len(c.notifies) == 2
    wait_for(heard)
    say(*[(n.channel, n.payload[:20], len(n.payload), n.pid == theirs) for n in c.notifies])
    cur.execute("UNLISTEN *")

    say("== transactions")
    c.autocommit = False
    cur.execute("CREATE TABLE drivers.t (a int PRIMARY KEY)")
    cur.execute("INSERT INTO drivers.t VALUES (1)")
    cur.execute("SAVEPOINT s")
    attempt("duplicate:", cur.execute, "INSERT INTO drivers.t VALUES (1)")
    say(c.get_transaction_status())
    attempt("aborted:", cur.execute, "SELECT 1")
    cur.execute("ROLLBACK TO s")
    say(c.get_transaction_status(), one(cur, "SELECT a FROM drivers.t"))
    c.commit()
    say(c.get_transaction_status())
    named = c.cursor("named", withhold=False, scrollable=True)
    named.itersize = 7
    named.execute("SELECT n FROM generate_series(1, 50) n")
    say(sum(row[0] for row in named))
    named.scroll(10, mode="absolute")
    say(named.fetchone())
    named.close()
    c.rollback()
    c.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    say(one(cur, "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"))
    attempt("read only:", cur.execute, "INSERT INTO drivers.t VALUES (5)")
    c.rollback()
    c.set_session(isolation_level="DEFAULT", readonly=False, deferrable=False, autocommit=True)
    cur.execute("SELECT 1; INSERT INTO drivers.t VALUES (9); SELECT 2")
    say(cur.fetchall(), cur.statusmessage)
    attempt("half:", cur.execute, "INSERT INTO drivers.t VALUES (8); INSERT INTO drivers.t VALUES (8)")
    say(one(cur, "SELECT count(*) FROM drivers.t WHERE a = 8"))
    attempt("syntax:", cur.execute, "SELEC 1")
    attempt("empty:", cur.execute, "")
    attempt("division:", cur.execute, "SELECT 1/0")
    c.set_client_encoding("LATIN1")
    say(c.encoding, one(cur, "SELECT 'naïve', length('ü')"))
    attempt("not in it:", cur.execute, "SELECT U&'\\0416'")
    c.reset()

    say("== big")
    cur.execute("CREATE TABLE drivers.b (t text, y bytea)")
    text, data = "0123456789abcdef" * (10 * 1024 * 64), bytes(range(256)) * (10 * 1024 * 4)
    cur.execute("INSERT INTO drivers.b VALUES (%s, %s)", (text, psycopg2.Binary(data)))
    row = one(cur, "SELECT * FROM drivers.b")
    say(*digest(row[0].encode()), *digest(bytes(row[1])))
    say("== end")


def denied(what, f, *args):
    try:
        f(*args)
    except psycopg2.Error as e:
        say(what, e.pgcode, e.diag.message_primary if e.pgcode == "42501" else "")
    else:
        say(what, "succeeded")


def show(row):
    return " | ".join("NULL" if v is None else str(v) for v in row)


def controls():
    c = connect()
    cur = c.cursor()
    cur.execute("SELECT id, name, email, phone, card_number, joined, notes FROM customers WHERE id <= 3 ORDER BY id")
    for row in cur:
        say("text:", show(row))
    cur.execute("PREPARE own (int) AS SELECT email, phone FROM customers WHERE id = $1")
    for _ in range(7):
        say("prepared:", show(one(cur, "EXECUTE own (%s)", 1)))
    out = io.StringIO()
    cur.copy_expert("COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT", out)
    say("copy out:", out.getvalue().strip().replace("\t", " | "))
    denied("denied:", cur.execute, "DROP TABLE orders")
    say("alive:", one(cur, "SELECT count(*) FROM orders")[0])
    c.autocommit = False
    cur.execute("INSERT INTO orders VALUES (1000, 1, 'lamp', 1, now())")
    denied("denied in a transaction:", cur.execute, "DELETE FROM orders")
    denied("then:", cur.execute, "SELECT 1")
    c.rollback()
    say("alive:", one(cur, "SELECT count(*) FROM orders")[0])
    c.rollback()
    cur.execute("INSERT INTO orders VALUES (1001, 1, 'lamp', 1, now())")
    cur.execute("SAVEPOINT s")
    denied("denied after a savepoint:", cur.execute, "DELETE FROM orders")
    cur.execute("ROLLBACK TO s")
    say("back at it:", one(cur, "SELECT count(*) FROM orders")[0])
    c.rollback()
    c.autocommit = True
    denied("denied in several:", cur.execute, "SELECT 1; DELETE FROM orders; SELECT 2")
    say("end:", one(cur, "SELECT count(*) FROM orders")[0])


{"parity": parity, "controls": controls}[sys.argv[1]]()

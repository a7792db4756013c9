// What node's pg does. See drivers_test.go.
"use strict";

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const pg = require("pg");
const copy = require("pg-copy-streams");
const Cursor = require("pg-cursor");

const env = process.env;
const say = (...words) => console.log(words.map((w) => (typeof w === "string" ? w : JSON.stringify(w))).join(" "));
const digest = (data) => `${data.length} ${createHash("sha256").update(data).digest("hex").slice(0, 16)}`;

async function connect(more) {
  const ssl = env.PGSSLMODE === "verify-full" && { ca: fs.readFileSync(env.PGSSLROOTCERT, "utf8"), rejectUnauthorized: true };
  const client = new pg.Client({ ssl, ...more }); // the rest is in libpq's environment variables
  await client.connect();
  return client;
}

async function attempt(what, work) {
  try {
    await work();
    say(what, "succeeded");
  } catch (e) {
    say(what, e.severity, e.code, e.message, e.detail, e.hint, e.position, e.schema, e.table, e.column, e.constraint, e.where, e.file, e.line, e.routine);
  }
}

const rows = (r) => [r].flat().forEach((r) => say(r.command, r.rowCount, r.fields.map((f) => [f.name, f.dataTypeID, f.columnID, f.dataTypeSize, f.dataTypeModifier, f.format]), r.rows));

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const copyIn = (c, sql, data) => pipeline(Readable.from([data]), c.query(copy.from(sql)));

async function parity() {
  const notices = [];
  const c = await connect();
  c.on("notice", (n) => notices.push([n.severity, n.code, n.message, n.detail, n.hint]));

  say("== connect");
  rows(await c.query("SELECT current_user, session_user, current_database(), version()"));

  const types = fs.readFileSync(path.join(__dirname, "..", "types.sql"), "utf8");
  for (const binary of [false, true]) {
    say(binary ? "== binary" : "== text");
    const text = { rowMode: "array", types: { getTypeParser: () => (v) => (Buffer.isBuffer(v) ? v.toString("hex") : v) } };
    rows(await c.query({ text: types, binary, ...text }));
    rows(await c.query({ text: "SELECT id, item, amount, placed FROM orders WHERE id <= $1 ORDER BY id", values: [5], binary, ...text }));
    rows(await c.query({
      text: "SELECT $1::int, $2::text, $3::bytea, $4::timestamptz, $5::int[], $6::jsonb, $7::bool",
      values: [7, null, Buffer.from([0, 255]), new Date(1e12), [1, null, 3], { k: [1] }, true], binary, ...text,
    }));
  }

  say("== prepared");
  await c.query("CREATE TABLE drivers.p (a int PRIMARY KEY, b text)");
  for (let i = 0; i < 8; i++) {
    rows(await c.query({ name: "insert", text: "INSERT INTO drivers.p VALUES ($1, $2) RETURNING a, b", values: [i, i === 3 ? null : `row ${i}`] }));
  }
  await attempt("again", () => c.query({ name: "insert", text: "INSERT INTO drivers.p VALUES ($1, $2) RETURNING a, b", values: [1, "x"] }));
  for (let i = 0; i < 4; i++) {
    if (i === 2) await c.query("ALTER TABLE drivers.p ADD COLUMN c int");
    await attempt("changed", async () => rows(await c.query({ name: "find", text: "SELECT * FROM drivers.p WHERE a = $1", values: [i] })));
  }
  await attempt("bad", () => c.query({ name: "bad", text: "SELECT * FROM nowhere WHERE a = $1", values: [1] }));
  const cursor = c.query(new Cursor("SELECT n FROM generate_series(1, 50) n WHERE n <> $1", [7]));
  say(await cursor.read(10), (await cursor.read(100)).length);
  await cursor.close();
  await Promise.all([1, 2, 3].map(async (n) => rows(await c.query("SELECT $1::int AS n", [n]))));

  say("== pipeline");
  await c.query("CREATE TABLE drivers.q (a int PRIMARY KEY)");
  const piped = await connect({ pipeline: true });
  const sent = [1, 2, 1, 3].map((n) => piped.query("INSERT INTO drivers.q VALUES ($1) RETURNING a", [n]));
  for (let n = 0; n < 300; n++) sent.push(piped.query({ name: "piped", text: "SELECT $1::int * 2 AS n", values: [n] }));
  (await Promise.allSettled(sent)).forEach((r) => (r.value ? rows(r.value) : say(r.reason.code, r.reason.message)));
  await piped.end();

  say("== copy");
  await c.query("CREATE TABLE drivers.c (a int, b text, c timestamptz)");
  await copyIn(c, "COPY drivers.c FROM STDIN", "1\ttab\\there\t2026-01-01\n2\t\\N\t\\N\n");
  await copyIn(c, "COPY drivers.c FROM STDIN (FORMAT csv)", Array.from({ length: 5000 }, (_, i) => `${i + 3},"b ""${i}""",\n`).join(""));
  for (const options of ["", "(FORMAT csv, HEADER)", "(FORMAT binary)"]) {
    say(options, digest(await collect(c.query(copy.to(`COPY (SELECT * FROM drivers.c ORDER BY a) TO STDOUT ${options}`)))));
  }
  await attempt("bad line", () => copyIn(c, "COPY drivers.c FROM STDIN", "1\tx\t\\N\nword\ty\t\\N\n"));
  await attempt("no table", () => copyIn(c, "COPY drivers.nowhere FROM STDIN", "1\n"));
  rows(await c.query("SELECT count(*), min(b), max(a) FROM drivers.c"));

  say("== cancel");
  const other = await connect();
  const mine = (await c.query("SELECT pg_backend_pid() AS pid")).rows[0].pid;
  const asleep = new pg.Query("SELECT pg_sleep(60)");
  const ended = new Promise((resolve, reject) => asleep.on("end", resolve).on("error", reject));
  ended.catch(() => {}); // looked at below
  c.query(asleep);
  for (let busy = false; !busy;) {
    busy = (await other.query("SELECT state = 'active' AND query LIKE '%pg_sleep%' AS busy FROM pg_stat_activity WHERE pid = $1", [mine])).rows[0].busy;
  }
  // pg sends cancel requests in clear text only, and doesn't wait for the connection to be closed. PostgreSQL signals
  // a backend twice; without waiting, the second time may hit the next query.
  const canceller = new pg.Client({ ssl: false });
  const closed = new Promise((resolve) => canceller.connection.once("end", resolve));
  canceller.cancel(c, asleep);
  await attempt("sleep", () => ended);
  await closed;
  rows(await c.query("SELECT 'still here' AS a"));

  say("== notices");
  await c.query("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second' USING HINT = 'a hint'; RAISE DEBUG 'hidden'; END $$");
  await c.query("DROP TABLE IF EXISTS drivers.missing");
  say(notices);

  say("== large objects");
  const oid = (await c.query("SELECT lo_from_bytea(0, $1) AS oid", [Buffer.from("large ".repeat(5000))])).rows[0].oid;
  await c.query("SELECT lo_put($1, 6, 'LARGE')", [oid]);
  say(digest((await c.query("SELECT lo_get($1) AS data", [oid])).rows[0].data));
  rows(await c.query("SELECT lo_unlink($1)", [oid]));

  say("== notify");
  const heard = [];
  const all = new Promise((resolve) => c.on("notification", (n) => heard.push(n) === 3 && resolve()));
  await c.query("LISTEN news");
  await other.query("SELECT pg_notify('news', 'from another'), pg_notify('news', repeat('x', 7000))");
  await c.query("NOTIFY news, 'from myself'");
  await all;
  const theirs = (await other.query("SELECT pg_backend_pid() AS pid")).rows[0].pid;
  heard.forEach((n) => say(n.channel, digest(n.payload), n.processId === theirs, n.processId === c.processID));
  await other.end();

  say("== transactions");
  await c.query("CREATE TABLE drivers.t (a int PRIMARY KEY)");
  await c.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
  await c.query("INSERT INTO drivers.t VALUES ($1)", [1]);
  await c.query("SAVEPOINT s");
  await attempt("duplicate", () => c.query("INSERT INTO drivers.t VALUES ($1)", [1]));
  await attempt("aborted", () => c.query("SELECT 1"));
  await c.query("ROLLBACK TO s");
  rows(await c.query("SELECT a FROM drivers.t"));
  rows(await c.query("COMMIT"));
  rows(await c.query("SELECT 1 AS a; INSERT INTO drivers.t VALUES (9); SELECT 2 AS b"));
  await attempt("half", () => c.query("INSERT INTO drivers.t VALUES (8); INSERT INTO drivers.t VALUES (8)"));
  await attempt("syntax", () => c.query("SELEC 1"));
  await attempt("division", () => c.query("SELECT 1 / $1::int", [0]));
  rows(await c.query(""));
  rows(await c.query("SELECT a FROM drivers.t ORDER BY a"));

  say("== big");
  await c.query("CREATE TABLE drivers.b (t text, y bytea)");
  const text = "0123456789abcdef".repeat(10 << 16);
  const data = Buffer.alloc(10 << 20, "\x00\x01binary\xff", "latin1");
  await c.query("INSERT INTO drivers.b VALUES ($1, $2)", [text, data]);
  for (const binary of [false, true]) {
    const r = (await c.query({ text: "SELECT * FROM drivers.b", binary })).rows[0];
    say(digest(r.t), digest(r.y), r.t === text, r.y.equals(data));
  }
  await c.end();
  say("== end");
}

async function denied(what, work) {
  try {
    await work();
    say(`${what}:`, "succeeded");
  } catch (e) {
    say(`${what}:`, e.code, e.code === "42501" ? e.message : "");
  }
}

const show = (what, r) => r.rows.forEach((row) => say(`${what}:`, row.map((v) => (v === null ? "NULL" : String(v))).join(" | ")));

async function controls() {
  const c = await connect();
  // A date is a moment to pg, unless it is told otherwise.
  const array = { rowMode: "array", types: { getTypeParser: (oid, format) => (oid === 1082 ? String : pg.types.getTypeParser(oid, format)) } };
  const masked = "SELECT id, name, email, phone, card_number, joined, notes FROM customers WHERE id <= 3 ORDER BY id";
  const count = async (what) => say(`${what}:`, (await c.query("SELECT count(*) FROM orders")).rows[0].count);
  show("text", await c.query({ text: masked, ...array }));
  show("binary", await c.query({ text: masked.replace("joined", "joined::text"), binary: true, ...array }));
  for (let i = 0; i < 7; i++) {
    show("prepared", await c.query({ name: "masked", text: "SELECT email, phone FROM customers WHERE id = $1", values: [1], rowMode: "array" }));
  }
  const out = await collect(c.query(copy.to("COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT")));
  say("copy out:", out.toString().trim().replaceAll("\t", " | "));
  await denied("denied", () => c.query("DROP TABLE orders"));
  await denied("denied prepared", () => c.query({ name: "denied", text: "DELETE FROM orders" }));
  await count("alive");
  await c.query("BEGIN");
  await c.query("INSERT INTO orders VALUES (1000, 1, 'lamp', 1, now())");
  await denied("denied in a transaction", () => c.query("DELETE FROM orders"));
  await denied("then", () => c.query("SELECT 1"));
  await c.query("ROLLBACK");
  await count("alive");
  await c.query("BEGIN");
  await c.query("INSERT INTO orders VALUES (1001, 1, 'lamp', 1, now())");
  await c.query("SAVEPOINT s");
  await denied("denied after a savepoint", () => c.query("DELETE FROM orders"));
  await c.query("ROLLBACK TO s");
  await count("back at it");
  await c.query("ROLLBACK");
  const piped = await connect({ pipeline: true });
  const sent = ["SELECT 'one'", "DELETE FROM orders WHERE id = -1", "DELETE FROM orders", "SELECT 'four'"].map((text) => piped.query(text, []));
  const done = await Promise.allSettled(sent);
  for (const r of done.filter((r) => r.reason)) await denied("denied in a pipeline", () => Promise.reject(r.reason));
  await piped.end();
  await count("alive after a pipeline");
  await denied("denied in several", () => c.query("SELECT 1; DELETE FROM orders; SELECT 2"));
  await count("end");
  await c.end();
}

({ parity, controls })[process.argv[2]]().catch((e) => {
  console.error(e);
  process.exit(1);
});

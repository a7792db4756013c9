// What JDBC's driver does. See drivers_test.go.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class Drivers {
	static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

	interface Work {
		void run() throws Exception;
	}

	static void say(Object... words) {
		StringBuilder b = new StringBuilder();
		for (Object w : words) {
			b.append(b.length() > 0 ? " " : "").append(w);
		}
		OUT.println(b);
	}

	// connect is a connection that asks for TLS as libpq would. Properties such as preferQueryMode may be added.
	static Connection connect(String... more) throws SQLException {
		Properties p = new Properties();
		p.setProperty("user", System.getenv("PGUSER"));
		p.setProperty("password", System.getenv("PGPASSWORD"));
		p.setProperty("sslmode", System.getenv("PGSSLMODE"));
		if (System.getenv("PGSSLROOTCERT") != null) {
			p.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
		}
		for (int i = 0; i < more.length; i += 2) {
			p.setProperty(more[i], more[i + 1]);
		}
		return DriverManager.getConnection(
			"jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), p);
	}

	static void attempt(String what, Work work) throws Exception {
		try {
			work.run();
			say(what, "succeeded");
		} catch (SQLException e) {
			for (SQLException next = e; next != null; next = next.getNextException()) {
				ServerErrorMessage m = next instanceof PSQLException ? ((PSQLException) next).getServerErrorMessage() : null;
				if (m == null) {
					say(what, next.getSQLState(), next.getMessage());
				} else {
					say(what, m.getSeverity(), m.getSQLState(), m.getMessage(), "|", m.getDetail(), "|", m.getHint(), "|", m.getPosition(),
						m.getSchema(), m.getTable(), m.getColumn(), m.getConstraint(), m.getWhere(), m.getFile(), m.getLine(), m.getRoutine());
				}
			}
			if (e instanceof BatchUpdateException) {
				say(what, Arrays.toString(((BatchUpdateException) e).getUpdateCounts()));
			}
		}
	}

	static String digest(byte[] data) throws Exception {
		return data.length + " bytes " + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data), 0, 8);
	}

	static void exec(Connection c, String sql) throws SQLException {
		try (Statement s = c.createStatement()) {
			s.execute(sql);
		}
	}

	// text is a value as text; JDBC would show an array of bytes by its address.
	static String text(ResultSet r, int i) throws Exception {
		return r.getObject(i) instanceof byte[] ? digest(r.getBytes(i)) : r.getString(i);
	}

	// rows says what a result holds.
	static int rows(ResultSet r) throws Exception {
		ResultSetMetaData m = r.getMetaData();
		int n = 0;
		for (; r.next(); n++) {
			StringBuilder b = new StringBuilder();
			for (int i = 1; i <= m.getColumnCount(); i++) {
				b.append(" ").append(m.getColumnName(i)).append("=").append(text(r, i));
			}
			say(b);
		}
		return n;
	}

	static void query(Connection c, String sql) throws Exception {
		try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
			rows(r);
		}
	}

	static void parity() throws Exception {
		Connection c = connect();
		PGConnection pg = c.unwrap(PGConnection.class);
		say("== connect");
		pg.getParameterStatuses().entrySet().stream().sorted(java.util.Map.Entry.comparingByKey()).forEach(e -> say(e.getKey(), e.getValue()));
		query(c, "SELECT current_user, session_user, current_database()");
		say(c.getMetaData().getDatabaseProductVersion(), c.getMetaData().getMaxConnections(), c.isValid(5), c.getSchema(), c.getTransactionIsolation());
		// What tools ask of the catalog.
		try (ResultSet r = c.getMetaData().getColumns(null, "public", "orders", null)) {
			while (r.next()) {
				say(r.getString("COLUMN_NAME"), r.getString("TYPE_NAME"), r.getInt("COLUMN_SIZE"), r.getString("IS_NULLABLE"));
			}
		}
		try (ResultSet r = c.getMetaData().getImportedKeys(null, "public", "orders")) {
			say(rows(r));
		}
		try (ResultSet r = c.getMetaData().getTables(null, null, "%", new String[] {"TABLE"})) {
			say(rows(r));
		}

		String types = Files.readString(Path.of("types.sql"));
		for (String format : new String[] {"text", "binary"}) {
			say("== " + format);
			boolean binary = format.equals("binary");
			try (Connection d = connect("binaryTransfer", String.valueOf(binary), "prepareThreshold", binary ? "-1" : "5");
				PreparedStatement s = d.prepareStatement(types); ResultSet r = s.executeQuery()) {
				ResultSetMetaData m = r.getMetaData();
				r.next();
				for (int i = 1; i <= m.getColumnCount(); i++) {
					Object o = r.getObject(i);
					say(m.getColumnName(i), m.getColumnTypeName(i), m.getPrecision(i), m.getScale(i), m.isNullable(i), text(r, i),
						o == null ? null : o instanceof Array ? Arrays.deepToString((Object[]) ((Array) o).getArray()) : o.getClass().getName());
				}
				try (PreparedStatement o = d.prepareStatement("SELECT id, item, amount, placed FROM orders WHERE id <= ? ORDER BY id")) {
					o.setInt(1, 5);
					rows(o.executeQuery());
				}
				try (PreparedStatement o = d.prepareStatement("SELECT ?::int, ?::text, ?::bytea, ?::timestamptz, ?::date, ?::int[], ?::jsonb, ?::float8, ?::boolean")) {
					o.setInt(1, 7);
					o.setString(2, null);
					o.setBytes(3, new byte[] {0, -1});
					o.setObject(4, OffsetDateTime.of(2026, 1, 2, 3, 4, 5, 678000, ZoneOffset.UTC));
					o.setObject(5, LocalDate.of(2024, 2, 29));
					o.setArray(6, d.createArrayOf("int4", new Integer[] {1, null, 3}));
					o.setObject(7, "{\"k\": 1}", Types.OTHER);
					o.setDouble(8, 2.25);
					o.setBoolean(9, true);
					rows(o.executeQuery());
				}
			}
		}

		say("== prepared");
		exec(c, "CREATE TABLE drivers.p (a int PRIMARY KEY, b text)");
		try (PreparedStatement s = c.prepareStatement("INSERT INTO drivers.p VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
			for (int i = 0; i < 8; i++) {
				s.setInt(1, i);
				s.setString(2, i == 3 ? null : "row " + i);
				say(s.executeUpdate(), ((PGStatement) s).isUseServerPrepare());
				rows(s.getGeneratedKeys());
			}
			attempt("again", s::executeUpdate);
		}
		for (int round = 0; round < 2; round++) {
			try (PreparedStatement s = c.prepareStatement("SELECT * FROM drivers.p WHERE a < ? ORDER BY a")) {
				for (int i = 0; i < 8; i++) {
					s.setInt(1, 3);
					attempt("found", () -> rows(s.executeQuery()));
				}
			}
			exec(c, "ALTER TABLE drivers.p ADD COLUMN c" + round + " int");
		}
		try (PreparedStatement s = c.prepareStatement("SELECT * FROM nowhere WHERE a = ?")) {
			attempt("bad", () -> s.getParameterMetaData());
		}
		for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
			try (Connection d = connect("preferQueryMode", mode); PreparedStatement s = d.prepareStatement("SELECT a, b FROM drivers.p WHERE b = ? OR a = ?")) {
				for (int i = 0; i < 7; i++) {
					s.setString(1, "row 1");
					s.setInt(2, 4);
					rows(s.executeQuery());
				}
			}
		}

		say("== pipeline"); // JDBC's batches: one Sync for many
		exec(c, "CREATE TABLE drivers.q (a int PRIMARY KEY, b text)");
		for (boolean bad : new boolean[] {false, true}) {
			for (boolean auto : new boolean[] {true, false}) {
				c.setAutoCommit(auto);
				try (PreparedStatement s = c.prepareStatement("INSERT INTO drivers.q VALUES (?, ?)")) {
					int base = (bad ? 2000 : 0) + (auto ? 1000 : 0);
					for (int i = 0; i < 600; i++) {
						s.setInt(1, bad && i == 400 ? base : base + i);
						s.setString(2, "b".repeat(i % 300));
						s.addBatch();
					}
					attempt("batch", () -> say(Arrays.stream(s.executeBatch()).sum()));
				}
				if (!auto) {
					attempt("commit", c::commit);
				}
				c.setAutoCommit(true);
				query(c, "SELECT count(*), max(a) FROM drivers.q");
			}
		}
		try (Statement s = c.createStatement()) {
			s.addBatch("INSERT INTO drivers.q VALUES (9001)");
			s.addBatch("UPDATE drivers.q SET b = 'x' WHERE a >= 9000");
			s.addBatch("SELECT broken");
			s.addBatch("INSERT INTO drivers.q VALUES (9002)");
			attempt("mixed", s::executeBatch);
		}
		query(c, "SELECT count(*) FROM drivers.q WHERE a > 9000");

		copies(c, pg.getCopyAPI());
		cancelled(c);

		say("== notices");
		try (Statement s = c.createStatement()) {
			s.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second' USING HINT = 'a hint'; RAISE DEBUG 'hidden'; END $$");
			for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) {
				say(w.getSQLState(), w.getMessage());
			}
		}

		largeObjects(c, pg.getLargeObjectAPI());

		say("== notify");
		exec(c, "LISTEN news");
		try (Connection d = connect()) {
			exec(d, "SELECT pg_notify('news', 'from another'), pg_notify('news', repeat('x', 7000))");
		}
		exec(c, "NOTIFY news, 'from myself'");
		for (int heard = 0; heard < 3;) {
			for (PGNotification n : pg.getNotifications(10000)) {
				say(n.getName(), digest(n.getParameter().getBytes()));
				heard++;
			}
		}

		transactions(c);

		say("== big");
		exec(c, "CREATE TABLE drivers.b (t text, y bytea)");
		String text = "0123456789abcdef".repeat(10 << 16);
		byte[] data = new byte[10 << 20];
		for (int i = 0; i < data.length; i++) {
			data[i] = (byte) i;
		}
		try (PreparedStatement s = c.prepareStatement("INSERT INTO drivers.b VALUES (?, ?)")) {
			s.setString(1, text);
			s.setBinaryStream(2, new ByteArrayInputStream(data), data.length);
			say(s.executeUpdate());
		}
		for (String threshold : new String[] {"5", "-1"}) {
			try (Connection d = connect("prepareThreshold", threshold); Statement s = d.createStatement(); ResultSet r = s.executeQuery("SELECT * FROM drivers.b")) {
				r.next();
				say(digest(r.getString(1).getBytes()), digest(r.getBytes(2)), r.getString(1).equals(text), Arrays.equals(r.getBytes(2), data));
			}
		}
		say("== end");
	}

	static void copies(Connection c, CopyManager m) throws Exception {
		say("== copy");
		exec(c, "CREATE TABLE drivers.c (a int, b text, c timestamptz)");
		say(m.copyIn("COPY drivers.c FROM STDIN", in("1\ttab\\there\t2026-01-01\n2\t\\N\t\\N\n")));
		StringBuilder lines = new StringBuilder();
		for (int i = 3; i < 5000; i++) {
			lines.append(i).append(",\"b \"\"").append(i).append("\"\"\",\n");
		}
		say(m.copyIn("COPY drivers.c FROM STDIN (FORMAT csv)", in(lines.toString())));
		for (String options : new String[] {"", "(FORMAT csv, HEADER)", "(FORMAT binary)"}) {
			ByteArrayOutputStream out = new ByteArrayOutputStream();
			say(m.copyOut("COPY (SELECT * FROM drivers.c ORDER BY a) TO STDOUT " + options, out), digest(out.toByteArray()));
		}
		attempt("bad line", () -> m.copyIn("COPY drivers.c FROM STDIN", in("1\tx\t\\N\nword\ty\t\\N\n")));
		attempt("no table", () -> m.copyIn("COPY drivers.nowhere FROM STDIN", in("1\n")));
		attempt("given up", () -> m.copyIn("COPY drivers.c FROM STDIN").cancelCopy());
		attempt("not a copy", () -> m.copyIn("SELECT 1", in("1\n")));
		query(c, "SELECT count(*), min(b), max(a) FROM drivers.c");
	}

	static InputStream in(String s) {
		return new ByteArrayInputStream(s.getBytes(StandardCharsets.UTF_8));
	}

	static void cancelled(Connection c) throws Exception {
		say("== cancel");
		try (Connection other = connect(); Statement s = c.createStatement();
			PreparedStatement busy = other.prepareStatement("SELECT count(*) FROM pg_stat_activity WHERE pid = ? AND state = 'active' AND query LIKE '%pg_sleep%'")) {
			try (ResultSet r = s.executeQuery("SELECT pg_backend_pid()")) {
				r.next();
				busy.setInt(1, r.getInt(1));
			}
			Thread canceller = new Thread(() -> {
				try {
					for (int n = 0; n == 0;) {
						ResultSet r = busy.executeQuery();
						r.next();
						n = r.getInt(1);
					}
					s.cancel();
				} catch (SQLException e) {
					say("cancel", e);
				}
			});
			canceller.start();
			attempt("sleep", () -> s.execute("SELECT pg_sleep(60)"));
			canceller.join();
			s.setQueryTimeout(1);
			attempt("timeout", () -> s.execute("SELECT pg_sleep(60)"));
		}
		query(c, "SELECT 'still here' AS a");
	}

	static void largeObjects(Connection c, LargeObjectManager m) throws Exception {
		say("== large objects"); // by the protocol's FunctionCall
		c.setAutoCommit(false);
		long oid = m.createLO(LargeObjectManager.READWRITE);
		try (LargeObject o = m.open(oid, LargeObjectManager.READWRITE)) {
			o.write("large ".repeat(200_000).getBytes());
			say(o.tell(), o.size());
			o.seek(6);
			say(new String(o.read(5)), digest(o.read(500_000)));
			o.truncate(10);
			say(o.size64());
		}
		m.delete(oid);
		c.commit();
		attempt("not there", () -> m.open(1L));
		c.rollback();
		c.setAutoCommit(true);
	}

	static void transactions(Connection c) throws Exception {
		say("== transactions");
		exec(c, "CREATE TABLE drivers.t (a int PRIMARY KEY)");
		c.setAutoCommit(false);
		exec(c, "INSERT INTO drivers.t VALUES (1)");
		Savepoint s = c.setSavepoint("s");
		attempt("duplicate", () -> exec(c, "INSERT INTO drivers.t VALUES (1)"));
		attempt("aborted", () -> exec(c, "SELECT 1"));
		c.rollback(s);
		query(c, "SELECT a FROM drivers.t");
		c.commit();
		try (Statement f = c.createStatement()) {
			f.setFetchSize(7); // a portal, suspended and taken up again
			try (ResultSet r = f.executeQuery("SELECT n FROM generate_series(1, 50) n")) {
				int sum = 0;
				while (r.next()) {
					sum += r.getInt(1);
				}
				say(sum);
			}
		}
		try (Statement f = c.createStatement(ResultSet.TYPE_SCROLL_SENSITIVE, ResultSet.CONCUR_UPDATABLE); ResultSet r = f.executeQuery("SELECT a FROM drivers.t")) {
			r.next();
			r.updateInt(1, 4);
			r.updateRow();
		}
		query(c, "SELECT a FROM drivers.t");
		c.rollback();
		c.setReadOnly(true);
		attempt("read only", () -> exec(c, "INSERT INTO drivers.t VALUES (5)"));
		c.rollback();
		c.setReadOnly(false);
		c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
		query(c, "SHOW transaction_isolation");
		c.commit();
		c.setAutoCommit(true);
		try (Connection d = connect("autosave", "always")) {
			d.setAutoCommit(false);
			attempt("autosave", () -> query(d, "SELECT 1/0"));
			query(d, "SELECT 'goes on' AS a");
			d.commit();
		}
		try (Statement several = c.createStatement()) {
			boolean isResult = several.execute("SELECT 1 AS a; INSERT INTO drivers.t VALUES (9); SELECT 2 AS b");
			while (isResult || several.getUpdateCount() != -1) {
				if (isResult) {
					rows(several.getResultSet());
				} else {
					say(several.getUpdateCount());
				}
				isResult = several.getMoreResults();
			}
			attempt("half", () -> several.execute("INSERT INTO drivers.t VALUES (8); SELECT 1; INSERT INTO drivers.t VALUES (8)"));
			attempt("syntax", () -> several.execute("SELEC 1"));
			attempt("empty", () -> several.execute(""));
			attempt("division", () -> several.execute("SELECT 1/0"));
		}
		query(c, "SELECT a FROM drivers.t ORDER BY a");
		try (var call = c.prepareCall("{? = call lower(?)}")) {
			call.registerOutParameter(1, Types.VARCHAR);
			call.setString(2, "LOWER");
			call.execute();
			say(call.getString(1));
		}
	}

	static void denied(String what, Work work) throws Exception {
		try {
			work.run();
			say(what + ":", "succeeded");
		} catch (PSQLException e) {
			say(what + ":", e.getSQLState(), e.getSQLState().equals("42501") ? e.getServerErrorMessage().getMessage() : "");
		}
	}

	static void count(Connection c, String what) throws SQLException {
		try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT count(*) FROM orders")) {
			r.next();
			say(what + ":", r.getInt(1));
		}
	}

	static void show(String what, ResultSet r) throws SQLException {
		while (r.next()) {
			StringBuilder b = new StringBuilder();
			for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
				Object o = r.getObject(i);
				b.append(i > 1 ? " | " : "").append(o == null ? "NULL" : o.toString());
			}
			say(what + ":", b);
		}
	}

	static void controls() throws Exception {
		for (String what : new String[] {"text", "binary"}) {
			try (Connection d = connect("prepareThreshold", what.equals("text") ? "5" : "-1"); PreparedStatement s = d.prepareStatement(
				"SELECT id, name, email, phone, card_number, joined, notes FROM customers WHERE id <= 3 ORDER BY id")) {
				show(what, s.executeQuery());
			}
		}
		Connection c = connect();
		try (PreparedStatement s = c.prepareStatement("SELECT email, phone FROM customers WHERE id = ?")) {
			for (int i = 0; i < 7; i++) {
				s.setInt(1, 1);
				show("prepared", s.executeQuery());
			}
		}
		ByteArrayOutputStream out = new ByteArrayOutputStream();
		c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT", out);
		say("copy out:", out.toString(StandardCharsets.UTF_8).strip().replace("\t", " | "));
		denied("denied", () -> exec(c, "DROP TABLE orders"));
		try (PreparedStatement s = c.prepareStatement("DELETE FROM orders")) {
			denied("denied prepared", s::executeUpdate);
		}
		count(c, "alive");
		c.setAutoCommit(false);
		exec(c, "INSERT INTO orders VALUES (1000, 1, 'lamp', 1, now())");
		denied("denied in a transaction", () -> exec(c, "DELETE FROM orders"));
		denied("then", () -> exec(c, "SELECT 1"));
		c.rollback();
		count(c, "alive");
		c.rollback();
		exec(c, "INSERT INTO orders VALUES (1001, 1, 'lamp', 1, now())");
		Savepoint s = c.setSavepoint();
		denied("denied after a savepoint", () -> exec(c, "DELETE FROM orders"));
		c.rollback(s);
		count(c, "back at it");
		c.rollback();
		c.setAutoCommit(true);
		try (Statement several = c.createStatement()) {
			several.addBatch("INSERT INTO orders VALUES (1002, 1, 'lamp', 1, now())");
			several.addBatch("DELETE FROM orders");
			several.addBatch("INSERT INTO orders VALUES (1003, 1, 'lamp', 1, now())");
			try {
				several.executeBatch();
			} catch (BatchUpdateException e) {
				denied("denied in a pipeline", () -> {
					throw e.getNextException();
				});
			}
		}
		count(c, "alive after a pipeline");
		denied("denied in several", () -> exec(c, "SELECT 1; DELETE FROM orders; SELECT 2"));
		count(c, "end");
	}

	public static void main(String[] args) throws Exception {
		if (args[0].equals("parity")) {
			parity();
		} else {
			controls();
		}
	}
}

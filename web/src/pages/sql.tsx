import { sql, type SQLNamespace } from "@codemirror/lang-sql";
import { Alert, Badge, Box, Button, Group, Menu, Stack, Table, Text } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { IconHistory, IconPlayerPlay, IconPlayerStop, IconPlugConnectedX } from "@tabler/icons-react";
import { useParams } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { postgres } from "../parts/dialect";
import { Copy, counted, visible } from "../parts/format";
import { Page, Waiting } from "../parts/page";

const Editor = lazy(() => import("../parts/editor"));

interface Result { columns: string[]; rows: (string | null)[][]; tag: string; more: boolean; masked: [number, number][] }
interface Notice { severity: string; code: string; message: string; detail?: string; hint?: string; position?: number }
interface Tell {
  open?: { resource: string; user: string; version: string };
  result?: Result;
  notice?: Notice;
  error?: Notice;
  done?: { took: number; status: string };
}

/** What the catalog query brings: enough to complete names with. */
const catalogQuery = `SELECT n.nspname, c.relname, a.attname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY 1, 2, a.attnum`;

/** SQLPage is a session like psql's: the same listener, the same gate, its own recording. */
export function SQLPage() {
  const { resource } = useParams({ from: "/sql/$resource" });
  const s = useSQL(resource);
  const [text, setText] = useLocalStorage({ key: `postern-sql-${resource}`, defaultValue: "" });
  const [history, setHistory] = useLocalStorage<string[]>({ key: `postern-sql-history-${resource}`, defaultValue: [] });
  const language = useMemo(() => sql({ dialect: postgres, schema: s.schema, defaultSchema: "public", upperCaseKeywords: true }), [s.schema]);
  const run = useCallback((what: string) => {
    const asked = what.trim();
    if (!asked || s.state === "over" || (s.state === "open" && s.busy)) return;
    setHistory((old) => [asked, ...old.filter((h) => h !== asked)].slice(0, 50));
    s.run(asked);
  }, [s, setHistory]);
  return (
    <Page
      title={resource} wide
      lead={s.opened ? `As ${s.opened.user}, PostgreSQL ${s.opened.version}. Every statement is decided and recorded, as in psql.` : "Every statement is decided and recorded, as in psql."}
      actions={
        <>
          {s.status === "T" && <Badge color="yellow">in a transaction</Badge>}
          {s.status === "E" && <Badge color="red">transaction failed: ROLLBACK</Badge>}
          <Menu position="bottom-end" width={420} disabled={history.length === 0}>
            <Menu.Target><Button variant="default" leftSection={<IconHistory size={14} />} disabled={history.length === 0}>History</Button></Menu.Target>
            <Menu.Dropdown mah={320} style={{ overflow: "auto" }}>
              {history.map((h) => <Menu.Item key={h} onClick={() => setText(h)}><Text className="mono one-line">{visible(h, true)}</Text></Menu.Item>)}
            </Menu.Dropdown>
          </Menu>
          {s.running
            ? <Button key="cancel" color="red" variant="light" leftSection={<IconPlayerStop size={14} />} onClick={s.cancel}>Cancel</Button>
            : <Button key="run" leftSection={<IconPlayerPlay size={14} />} onClick={() => run(text)} disabled={s.state === "over" || !text.trim()}>Run</Button>}
        </>
      }
    >
      <Suspense fallback={<Waiting />}>
        <Editor value={text} onChange={setText} language={language} label="SQL" run={run} minHeight={140} />
      </Suspense>
      <Text size="xs" c="dimmed" className="wide-only"><kbd>Ctrl</kbd> <kbd>Enter</kbd> runs what is selected, or everything.</Text>
      {s.state === "over" && (
        <Alert color="orange" icon={<IconPlugConnectedX size={16} />} title="The session is over">
          <Group justify="space-between"><Text size="sm" className="wrap">{s.why}</Text><Button variant="default" onClick={s.again}>Connect again</Button></Group>
        </Alert>
      )}
      <Stack gap={8} aria-live="polite">
        {s.answers.map((a, i) => <Answer key={i} tell={a} text={text} />)}
      </Stack>
    </Page>
  );
}

/** The page's session: what was told since the last run, and what can be asked. */
function useSQL(resource: string) {
  const [state, setState] = useState<"opening" | "open" | "over">("opening");
  const [opened, setOpened] = useState<Tell["open"]>();
  const [answers, setAnswers] = useState<Tell[]>([]);
  const [busy, setBusy] = useState(false);
  const [wanted, setWanted] = useState(false); // busy with what was asked for, not with the catalog
  const [status, setStatus] = useState("I");
  const [why, setWhy] = useState("");
  const [schema, setSchema] = useState<SQLNamespace>({});
  const [attempt, setAttempt] = useState(0);
  const socket = useRef<WebSocket>(null);
  const asked = useRef<string>(undefined); // to run once the session is open
  // What holds at this very moment: what is drawn, and what a button closes over, may be some messages old.
  const now = useRef<"opening" | "open" | "over">("opening");
  useEffect(() => {
    let learning = true; // the first answer is the catalog's, for completion
    const names: Record<string, Record<string, string[]>> = {};
    const url = new URL(`/api/v1/sql/${encodeURIComponent(resource)}`, location.href);
    url.protocol = "wss:";
    const ws = new WebSocket(url);
    socket.current = ws;
    asked.current = undefined;
    const become = (state: "opening" | "open" | "over") => {
      now.current = state;
      setState(state);
    };
    become("opening");
    setStatus("I");
    ws.onmessage = (event) => {
      const tell = JSON.parse(event.data as string) as Tell;
      if (tell.open) {
        setOpened(tell.open);
        ws.send(JSON.stringify({ run: catalogQuery }));
        setBusy(true);
        return;
      }
      if (learning) {
        for (const [s, t, c] of tell.result?.rows ?? []) ((names[s ?? ""] ??= {})[t ?? ""] ??= []).push(c ?? "");
        if (tell.done) {
          learning = false;
          setSchema(names);
          become("open");
          if (asked.current !== undefined) ws.send(JSON.stringify({ run: asked.current }));
          else setBusy(false);
          asked.current = undefined;
        }
        return;
      }
      if (tell.done) {
        setWanted(false);
        setBusy(false);
        setStatus(tell.done.status);
      }
      setAnswers((all) => [...all, tell]);
    };
    ws.onclose = (event) => {
      asked.current = undefined;
      setWanted(false);
      setBusy(false);
      become("over");
      setWhy(event.reason || "The gateway didn't open a session: you may have no access now, or the resource can't be reached.");
    };
    return () => {
      ws.onclose = null;
      ws.onmessage = null;
      ws.close();
    };
  }, [resource, attempt]);
  return {
    state, opened, answers, busy, running: wanted, status, why, schema,
    run: (text: string) => {
      if (now.current === "over") return; // the page is about to say so
      setAnswers([]);
      setWanted(true);
      setBusy(true);
      if (now.current === "opening") asked.current = text;
      else socket.current?.send(JSON.stringify({ run: text }));
    },
    cancel: () => {
      if (asked.current === undefined) {
        socket.current?.send(JSON.stringify({ cancel: true }));
        return;
      }
      asked.current = undefined;
      setWanted(false);
    },
    again: () => setAttempt((n) => n + 1),
  };
}

function Answer({ tell, text }: { tell: Tell; text: string }) {
  if (tell.result) return <Grid result={tell.result} />;
  if (tell.error) return <Message notice={tell.error} color="red" text={text} />;
  if (tell.notice) return <Message notice={tell.notice} color={tell.notice.message.startsWith("postern: waiting") ? "yellow" : "gray"} text={text} />;
  if (tell.done) return <Text size="xs" c="dimmed">{tell.done.took} ms</Text>;
  return null;
}

function Message({ notice: n, color, text }: { notice: Notice; color: string; text: string }) {
  const line = n.position ? text.slice(0, n.position).split("\n").length : 0;
  return (
    <Alert color={color} variant="light" p="sm" role={color === "red" ? "alert" : "status"}>
      <Text size="sm" className="mono wrap">{n.severity}: {visible(n.message)}</Text>
      {line > 0 && <Text size="xs" c="dimmed">at line {line}</Text>}
      {n.detail && <Text size="xs" className="mono wrap">DETAIL: {visible(n.detail)}</Text>}
      {n.hint && <Text size="xs" className="mono wrap">HINT: {visible(n.hint)}</Text>}
    </Alert>
  );
}

function Grid({ result: r }: { result: Result }) {
  const masked = useMemo(() => new Set(r.masked.map(([row, column]) => row * 10_000 + column)), [r.masked]);
  if (r.columns.length === 0) return <Text size="sm" className="mono">{r.tag}</Text>;
  const tsv = () => [r.columns, ...r.rows.map((row) => row.map((cell) => cell ?? ""))].map((row) => row.join("\t")).join("\n");
  return (
    <Stack gap={4}>
      <Box className="card grid-scroll" tabIndex={0} role="region" aria-label="Result">
        <Table className="mono" withColumnBorders stickyHeader verticalSpacing={3} horizontalSpacing={8} w="auto" miw={200}>
          <Table.Thead><Table.Tr>{r.columns.map((c, i) => <Table.Th key={i}>{visible(c)}</Table.Th>)}</Table.Tr></Table.Thead>
          <Table.Tbody>
            {r.rows.map((row, i) => (
              <Table.Tr key={i}>
                {row.map((cell, j) => (
                  <Table.Td key={j} className="one-line">
                    {masked.has(i * 10_000 + j)
                      ? <span className="masked" title="Masked">{cell === null ? "NULL" : visible(cell)}</span>
                      : cell === null ? <Text span size="xs" c="dimmed">NULL</Text> : visible(cell)}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Box>
      <Group gap={8}>
        <Text size="xs" c="dimmed">
          {r.tag}{r.more ? `, the first ${r.rows.length} rows are shown` : ""}{r.masked.length ? ` · ${counted(r.masked.length, "value")} masked` : ""}
        </Text>
        <Copy text={tsv()} label="Copy as a table" />
      </Group>
    </Stack>
  );
}

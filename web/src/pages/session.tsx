import { Badge, Box, Button, Group, Modal, SegmentedControl, Stack, Switch, Table, Text, TextInput } from "@mantine/core";
import { IconDownload, IconEye, IconPlayerStop, IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from "react";
import { asciicast, turns, useEvents, type Event, type Turn } from "../api/events";
import { kill, session, useChange, type Session } from "../api/queries";
import { CommandText } from "../parts/command-text";
import { Copy, counted, never, span, State, visible, When, Who } from "../parts/format";
import { Listed, Loaded, Page, Refused, Section, Waiting } from "../parts/page";
import { Timeline } from "../parts/timeline";
import { useRoles } from "../shell";

const Player = lazy(() => import("../parts/player"));

/** SessionPage is one session: what it is, and what happened in it. */
export function SessionPage() {
  const { id } = useParams({ from: "/sessions/$id" });
  const query = useQuery(session(id));
  return <Loaded query={query}>{(s) => <One session={s} />}</Loaded>;
}

function One({ session: s }: { session: Session }) {
  const { who } = useRoles();
  const live = never(s.ended_at);
  const own = s.identity === who?.name && s.kind === who.kind && s.actor === (who.actor?.name ?? "");
  const [watching, setWatching] = useState(false);
  return (
    <Page
      title={`${s.identity} on ${s.resource}`}
      lead={<span className="mono">{s.id}</span>}
      actions={
        <>
          <Copy text={location.href.split("?")[0]!} label="Copy a link; readers need rights of their own" />
          {(!live || own) && <Button variant="default" component="a" href={`/api/v1/sessions/${s.id}/events`} download={`${s.id}.jsonl`} leftSection={<IconDownload size={14} />}>Export</Button>}
          {live && <End session={s} />}
        </>
      }
    >
      <Group gap="lg" className="card" p="sm">
        <Fact name="State">{live ? <Badge color="teal">live</Badge> : <Badge color="gray">over</Badge>}</Fact>
        <Fact name="Identity"><Who name={s.identity} kind={s.kind} actor={s.actor} /></Fact>
        <Fact name="Client">{visible(s.client || "–")}</Fact>
        <Fact name="From">{s.source}</Fact>
        <Fact name="Access">{s.access}</Fact>
        {s.database && <Fact name="Database">{s.database}</Fact>}
        <Fact name="Began"><When t={s.started_at} /></Fact>
        {!live && <Fact name="Lasted">{span(Date.parse(s.ended_at!) - Date.parse(s.started_at))}</Fact>}
        {s.end_reason && <Fact name="Ended because">{visible(s.end_reason)}</Fact>}
      </Group>
      {live && !own && !watching ? <Watch start={() => setWatching(true)} /> : <Transcript session={s} live={live} />}
    </Page>
  );
}

function Fact(p: { name: string; children: React.ReactNode }) {
  return (
    <Box maw={360}>
      <Text size="xs" c="dimmed">{p.name}</Text>
      <Text size="sm" component="div" className="wrap">{p.children}</Text>
    </Box>
  );
}

/** Watch asks before anybody is watched, because they are told. */
function Watch({ start }: { start: () => void }) {
  return (
    <Section title="What happens">
      <Group className="card" p="sm" justify="space-between">
        <Text size="sm">Whoever is at this session&apos;s client is told that you watch, and when you stop.</Text>
        <Button leftSection={<IconEye size={14} />} onClick={start}>Watch</Button>
      </Group>
    </Section>
  );
}

function End({ session: s }: { session: Session }) {
  const { admin, who } = useRoles();
  const [asking, setAsking] = useState(false);
  const [reason, setReason] = useState("");
  const end = useChange(kill, "sessions");
  if (!admin && who?.name !== s.identity) return null;
  return (
    <>
      <Button color="red" variant="light" leftSection={<IconPlayerStop size={14} />} onClick={() => setAsking(true)}>End now</Button>
      <Modal opened={asking} onClose={() => setAsking(false)} title="End this session now?">
        <Stack gap="sm">
          <Text size="sm">The connection is cut, and a command under way is cancelled.</Text>
          <TextInput label="Reason" description="The client is told." value={reason} maxLength={500} onChange={(e) => setReason(e.currentTarget.value)} />
          {end.error && <Refused error={end.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setAsking(false)}>Leave it</Button>
            <Button color="red" loading={end.isPending} onClick={() => end.mutate({ id: s.id, reason }, { onSuccess: () => setAsking(false) })}>End it</Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

function Transcript(p: { session: Session; live: boolean }) {
  const { n } = useSearch({ from: "/sessions/$id" });
  const { events, error, reading } = useEvents(p.session.id, p.live);
  const [text, setText] = useState("");
  const { turns: all, others } = useMemo(() => turns(events), [events]);
  const wanted = text.trim().toLowerCase();
  const found = wanted ? all.filter((t) => t.command?.command?.text.toLowerCase().includes(wanted)) : all;
  const started = Date.parse(p.session.started_at);
  const navigate = useNavigate({ from: "/sessions/$id" });
  const ended = never(p.session.ended_at) ? Math.max(started, ...events.slice(-1).map((e) => Date.parse(e.t))) : Date.parse(p.session.ended_at!);
  const jump = (to: number) => {
    setText("");
    void navigate({ search: { n: to }, replace: true, resetScroll: false });
  };
  const problem = others.find((e) => e.kind === "problem");
  const cast = useMemo(() => (reading || p.live ? undefined : asciicast(events)), [events, reading, p.live]);
  return (
    <>
    {cast && <Screen cast={cast} />}
    {all.length > 0 && <Timeline turns={all} started={started} ended={ended} jump={jump} />}
    <Section
      title={p.live ? "What happens" : "What happened"}
      aside={
        <TextInput
          placeholder="Find in commands" aria-label="Find in commands" leftSection={<IconSearch size={14} />} w={220}
          value={text} onChange={(e) => setText(e.currentTarget.value)}
        />
      }
    >
      {others.filter((e) => e.kind === "watch").map((e, i) => (
        <Text key={i} size="xs" c="dimmed">{e.text} {e.state === "began" ? "began to watch" : "stopped watching"} <When t={e.t} /></Text>
      ))}
      <Listed
        items={found} error={error ?? (problem && new Error(problem.text))} isPending={reading && (!p.live || events.length === 0)}
        nothing={wanted ? "No command says that." : "No command yet."}
      >
        {(shown) => (
          <Stack gap="sm" className="timeline">
            {shown.map((t) => <OneTurn key={t.n} turn={t} started={started} here={t.n === n} />)}
          </Stack>
        )}
      </Listed>
    </Section>
    </>
  );
}

/** Screen plays what stood on the session's terminal. */
function Screen({ cast }: { cast: string }) {
  const [speed, setSpeed] = useState("1");
  const [skip, setSkip] = useState(true);
  return (
    <Section
      title="On the terminal"
      aside={
        <Group gap="sm">
          <Switch size="xs" label="Skip silence" checked={skip} onChange={(e) => setSkip(e.currentTarget.checked)} />
          <SegmentedControl aria-label="Speed" value={speed} onChange={setSpeed} data={["1", "2", "4", "8"].map((v) => ({ value: v, label: `${v}×` }))} />
        </Group>
      }
    >
      <Suspense fallback={<Waiting />}><Player cast={cast} speed={Number(speed)} skipIdle={skip} /></Suspense>
    </Section>
  );
}

function OneTurn({ turn, started, here }: { turn: Turn; started: number; here: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => { if (here) box.current?.scrollIntoView({ block: "center" }); }, [here]);
  const command = turn.command?.command;
  return (
    <Box ref={box} className="card" p="sm" style={here ? { outline: "2px solid var(--mantine-primary-color-filled)" } : undefined}>
      <Group justify="space-between" mb={6} gap="xs">
        <Group gap={8}>
          <Link to="." search={{ n: turn.n }} className="plain"><Text span size="xs" c="dimmed">#{turn.n}</Text></Link>
          <Text size="xs" c="dimmed" className="num">+{span(Date.parse(turn.at) - started)}</Text>
          {turn.decision && <Decision event={turn.decision} of={turn.n} />}
        </Group>
        {command?.verbs && <Text size="xs" c="dimmed">{command.verbs.join(", ")}</Text>}
      </Group>
      <CommandText text={command?.text ?? ""} protocol={command?.protocol} plain />
      <Stack gap={6} mt={6}>{joined(turn.rest).map((e, i) => <Outcome key={i} event={e} />)}</Stack>
    </Box>
  );
}

const maxShown = 4_000;

/** The events of a turn with what was printed in a row as one, without what moves a cursor. */
function joined(events: Event[]): Event[] {
  const out: Event[] = [];
  for (const e of events) {
    if (e.kind === "resize") continue;
    const last = out.at(-1);
    if (last && (e.kind === "output" || e.kind === "input") && last.kind === e.kind && last.stream === e.stream) {
      if ((last.text ?? "").length < maxShown) out[out.length - 1] = { ...last, text: (last.text ?? "") + (e.text ?? "") };
    } else out.push(e);
  }
  return out.map((e) => (e.kind === "output" || e.kind === "input" ? { ...e, text: plain(e.text ?? "") } : e));
}

// eslint-disable-next-line no-control-regex
const escapes = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-_])|[\u0000-\u0008\u000b-\u001f\u007f]/g;

function plain(text: string): string {
  const clean = text.replaceAll("\r\n", "\n").replace(escapes, "");
  return clean.length > maxShown ? `${clean.slice(0, maxShown)}\n…` : clean;
}

/** Decision is what was decided over command `of`, perhaps together with those before it. */
function Decision({ event, of }: { event: Event; of: number }) {
  const d = event.decision;
  if (!d) return null;
  return (
    <Group gap={6} wrap="nowrap" align="flex-start">
      <State of={d.decision} />
      {d.rule && <Text size="xs" c="dimmed">{d.rule}{d.decision === "deny" && d.reason ? `: ${d.reason}` : ""}</Text>}
      {event.n !== of && <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>with #{event.n}</Text>}
    </Group>
  );
}

function Outcome({ event: e }: { event: Event }) {
  if (e.kind === "review") {
    return (
      <Group gap={6}>
        <Text size="xs" c="dimmed">review</Text>
        <Link to="/reviews/$id" params={{ id: e.review ?? "" }} className="mono">{e.review}</Link>
        <State of={e.state ?? ""} />
      </Group>
    );
  }
  if (e.kind === "output") return e.text ? <CommandText text={e.text} plain /> : null;
  if (e.kind === "input") return e.text ? <Text size="xs" c="dimmed" className="mono wrap">typed: {visible(e.text)}</Text> : null;
  if (e.kind === "error") return <Text size="sm" c="red" className="mono wrap">{visible([e.code, e.text].filter(Boolean).join(" "))}</Text>;
  if (e.kind === "notice") return <Text size="sm" c="dimmed" className="mono wrap">{visible(e.text ?? "")}</Text>;
  if (e.kind !== "result") return e.text ? <Text size="sm" className="mono wrap">{visible(e.text)}</Text> : null;
  const rows = e.rows ?? [];
  return (
    <Stack gap={4}>
      {e.columns && rows.length > 0 && (
        <Box className="grid-scroll" tabIndex={0} role="region" aria-label="Result">
          <Table className="mono" withColumnBorders verticalSpacing={3} horizontalSpacing={8} w="auto">
            <Table.Thead><Table.Tr>{e.columns.map((c, i) => <Table.Th key={i}>{visible(c)}</Table.Th>)}</Table.Tr></Table.Thead>
            <Table.Tbody>
              {rows.map((row, i) => (
                <Table.Tr key={i}>
                  {row.map((cell, j) => <Table.Td key={j} className="one-line">{cell === null ? <Text span size="xs" c="dimmed">NULL</Text> : visible(cell)}</Table.Td>)}
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Box>
      )}
      <Text size="xs" c="dimmed">
        {[e.tag, rows.length && e.row_count && e.row_count > rows.length ? `the first ${rows.length} of ${e.row_count} rows are kept` : "", e.masked ? counted(e.masked, "value") + " masked" : ""]
          .filter(Boolean).join(" · ")}
      </Text>
    </Stack>
  );
}

import { Badge, Box, Button, Group, SegmentedControl, Stack, Table, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { IconSearch } from "@tabler/icons-react";
import { useState } from "react";
import { commands, sessions, type Found, type Session } from "../api/queries";
import { CommandText } from "../parts/command-text";
import { never, span, State, useNow, visible, When, Who } from "../parts/format";
import { Loaded, Nothing, Page, Refused, Waiting } from "../parts/page";
import { useRoles } from "../shell";

/** SessionsPage lists sessions: everybody's for auditors, one's own for others. */
export function SessionsPage() {
  const { auditor } = useRoles();
  const [show, setShow] = useState("all");
  const [identity, setIdentity] = useState("");
  const [resource, setResource] = useState("");
  const [limit, setLimit] = useState(100);
  const [text, setText] = useState("");
  const [wanted] = useDebouncedValue(text.trim(), 400);
  const [filter] = useDebouncedValue({ identity: identity.trim() || undefined, resource: resource.trim() || undefined }, 250);
  const live = show === "live" ? "true" : show === "over" ? "false" : undefined;
  const query = useQuery({ ...sessions({ ...filter, live }, limit), placeholderData: keepPreviousData });
  return (
    <Page
      title="Sessions"
      wide
      lead={auditor ? "Every connection through the gateway, newest first." : "Your connections through the gateway, newest first."}
      actions={
        <>
          {auditor && <TextInput placeholder="Identity" aria-label="Identity" w={140} value={identity} onChange={(e) => setIdentity(e.currentTarget.value)} />}
          <TextInput placeholder="Resource" aria-label="Resource" w={140} value={resource} onChange={(e) => setResource(e.currentTarget.value)} />
          <SegmentedControl
            aria-label="Which sessions" value={show} onChange={setShow}
            data={[{ value: "all", label: "All" }, { value: "live", label: "Live" }, { value: "over", label: "Over" }]}
          />
        </>
      }
    >
      <TextInput
        placeholder={'Search all commands: words, or "a phrase"'} aria-label="Search commands" leftSection={<IconSearch size={14} />} maxLength={512}
        value={text} onChange={(e) => setText(e.currentTarget.value)}
      />
      {wanted ? <Commands text={wanted} filter={filter} /> : <Loaded query={query}>
        {(page) => {
          const items = page.items ?? [];
          if (items.length === 0) return <Nothing>No session matches.</Nothing>;
          return (
            <>
              <List sessions={items} />
              {page.next && limit < 500 && (
                <Group justify="center"><Button variant="default" onClick={() => setLimit((n) => Math.min(500, n + 200))}>Older ones</Button></Group>
              )}
            </>
          );
        }}
      </Loaded>}
    </Page>
  );
}

/** Commands are what a search found, newest first; those of one session in a row stand together. */
function Commands(p: { text: string; filter: { identity?: string; resource?: string } }) {
  const query = useInfiniteQuery(commands({ text: p.text, ...p.filter }));
  if (query.isPending) return <Waiting />;
  if (query.error) return <Refused error={query.error} retry={() => void query.refetch()} />;
  const groups: Found[][] = [];
  for (const c of query.data.pages.flatMap((page) => page.items ?? [])) {
    if (groups.at(-1)?.[0]?.session === c.session) groups.at(-1)!.push(c);
    else groups.push([c]);
  }
  return (
    <Stack gap="sm">
      {groups.length === 0 && !query.hasNextPage && <Nothing>No command that you may see says that. One of an open session is found some seconds after it ran.</Nothing>}
      {groups.map(([first, ...more]) => (
        <Box key={`${first!.session} ${first!.n}`} className="card" p="sm">
          <Group justify="space-between" gap="xs" mb={6}>
            <Group gap={8}><Who name={first!.identity} kind={first!.kind} actor={first!.actor} /><Text size="sm" c="dimmed">{first!.resource}</Text></Group>
            <Text size="xs" c="dimmed" component="span"><When t={first!.t} /></Text>
          </Group>
          <Stack gap={6}>
            {[first!, ...more].map((c) => (
              <Group key={c.n} gap={8} wrap="nowrap" align="flex-start">
                <Link to="/sessions/$id" params={{ id: c.session }} search={{ n: c.n }} className="num found-at" aria-label={`Command ${c.n} in its session`}>#{c.n}</Link>
                <Box flex={1} miw={0}><CommandText text={c.text} protocol={c.protocol} plain /></Box>
                {c.verdict && c.verdict !== "allow" && <State of={c.verdict} />}
              </Group>
            ))}
          </Stack>
        </Box>
      ))}
      {query.hasNextPage && (
        <Group justify="center"><Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>Older ones</Button></Group>
      )}
    </Stack>
  );
}

/** Bar shows when a session was, among those beside it, and how much of what it asked was denied. */
function Bar(p: { session: Session; from: number; to: number }) {
  const { session: s, from, to } = p;
  const whole = Math.max(to - from, 1);
  const begins = (Date.parse(s.started_at) - from) / whole;
  const lasts = ((never(s.ended_at) ? to : Date.parse(s.ended_at!)) - Date.parse(s.started_at)) / whole;
  const denied = s.commands ? Math.min(s.denied / s.commands, 1) : 0;
  return (
    <svg className="bar" width="120" height="12" viewBox="0 0 120 12" aria-hidden="true">
      <line x1="0" y1="6" x2="120" y2="6" className="bar-track" />
      <rect x={begins * 117} y="2" width={Math.max(lasts * 120, 3)} height="8" rx="1.5" className={never(s.ended_at) ? "bar-live" : "bar-over"} />
      {denied > 0 && <rect x={begins * 117} y={10 - Math.max(8 * denied, 2)} width={Math.max(lasts * 120, 3)} height={Math.max(8 * denied, 2)} rx="1" className="bar-denied" />}
    </svg>
  );
}

function List(p: { sessions: Session[] }) {
  const now = useNow(15_000);
  const from = Math.min(...p.sessions.map((s) => Date.parse(s.started_at)));
  const to = Math.max(...p.sessions.map((s) => (never(s.ended_at) ? now : Date.parse(s.ended_at!))));
  return (
    <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Identity</Table.Th><Table.Th>Resource</Table.Th><Table.Th className="wide-only">Client</Table.Th><Table.Th>Began</Table.Th><Table.Th className="wide-only">When</Table.Th>
            <Table.Th>Lasted</Table.Th><Table.Th className="num wide-only">Commands</Table.Th><Table.Th className="num">Denied</Table.Th><Table.Th className="num wide-only">Masked</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {p.sessions.map((s) => (
            <Table.Tr key={s.id}>
              <Table.Td><Link to="/sessions/$id" params={{ id: s.id }} className="plain"><Who name={s.identity} kind={s.kind} actor={s.actor} /></Link></Table.Td>
              <Table.Td><Text size="sm" className="one-line">{s.resource}<Text span size="xs" c="dimmed" className="wide-only"> {s.protocol}</Text></Text></Table.Td>
              <Table.Td className="wide-only"><Text size="sm" className="one-line" maw={220}>{visible(s.client || "–")}</Text></Table.Td>
              <Table.Td><When t={s.started_at} /></Table.Td>
              <Table.Td className="wide-only"><Bar session={s} from={from} to={to} /></Table.Td>
              <Table.Td>{never(s.ended_at) ? <Badge color="teal">live</Badge> : span(Date.parse(s.ended_at!) - Date.parse(s.started_at))}</Table.Td>
              <Table.Td className="num wide-only">{s.commands}</Table.Td>
              <Table.Td className="num">{s.denied ? <Text span c="red" size="sm">{s.denied}</Text> : 0}</Table.Td>
              <Table.Td className="num wide-only">{s.masked_values}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

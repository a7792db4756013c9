import { Badge, Box, Button, Group, Table, Text, TextInput } from "@mantine/core";
import { IconDownload, IconSearch } from "@tabler/icons-react";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { lines } from "../api/client";
import { auditReport, auditSearch } from "../api/queries";
import { Copy, State, visible, When, Who } from "../parts/format";
import { Listed, Loaded, Page, Section } from "../parts/page";

interface Entry {
  seq: number; time: string; action: string; outcome: string; identity?: string; kind?: string; actor?: string; resource?: string; session?: string;
  verb?: string; objects?: string[]; rule?: string; reason?: string; review?: string; target?: string; source?: string; n?: number; text?: string;
}

/** AuditPage is the log of every decision and act, and whether it is what was written. */
export function AuditPage() {
  return (
    <Page
      title="Audit log" wide lead="Every decision and every administrative act, append-only and signed."
      actions={<Button variant="default" component="a" href="/api/v1/audit/export" download="audit.jsonl" leftSection={<IconDownload size={14} />}>Export</Button>}
    >
      <Verified />
      <Entries />
    </Page>
  );
}

function Verified() {
  const query = useQuery(auditReport);
  return (
    <Section title="Is it what was written?" aside={<Button variant="default" loading={query.isFetching} onClick={() => void query.refetch()}>Verify again</Button>}>
      <Loaded query={query}>
        {(r) => (
          <Group className="card" p="sm" gap="lg">
            {r.verified ? <Badge color="teal" size="lg">verified</Badge> : <Badge color="red" size="lg">not what was written</Badge>}
            <Box><Text size="xs" c="dimmed">Entries</Text><Text size="sm">{r.entries}</Text></Box>
            <Box><Text size="xs" c="dimmed">Signed checkpoints</Text><Text size="sm">{r.checkpoints}, the last at entry {r.signed}</Text></Box>
            <Box maw="100%"><Text size="xs" c="dimmed">Root</Text><Group gap={4} wrap="nowrap"><Text className="mono wrap">{r.root}</Text><Copy text={r.root} label="Copy the root" /></Group></Box>
            {r.problem && <Text size="sm" c="red" className="wrap">{r.problem}</Text>}
          </Group>
        )}
      </Loaded>
    </Section>
  );
}

/** The last entries, newest first, and those that come while the page is open. */
function useTail(limit: number) {
  const [entries, setEntries] = useState<Entry[]>([]);
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    const stop = new AbortController();
    setEntries([]);
    lines<Entry>(`/audit?limit=${limit}&follow=true`, stop.signal, (e) => setEntries((all) => [e, ...all].slice(0, 2_000)))
      .catch((e: unknown) => { if (!stop.signal.aborted) setError(e); });
    return () => stop.abort();
  }, [limit]);
  return { entries, error };
}

function Entries() {
  const [text, setText] = useState("");
  const [asked] = useDebouncedValue(text.trim(), 300);
  const tail = useTail(200);
  const search = useQuery({ ...auditSearch(asked), enabled: asked !== "", placeholderData: keepPreviousData });
  const found = asked
    ? { items: (search.data?.items ?? []) as Entry[], error: search.error, isPending: search.isPending }
    : { items: tail.entries.slice(0, 300), error: tail.error, isPending: tail.entries.length === 0 };
  return (
    <Section
      title={asked ? "What matches, newest first" : "The last entries, as they come"}
      aside={
        <TextInput
          placeholder="identity:alice outcome:deny payments" aria-label="Search the log" leftSection={<IconSearch size={14} />} w={{ base: "100%", xs: 320 }}
          value={text} onChange={(e) => setText(e.currentTarget.value)}
        />
      }
    >
      <Listed {...found} nothing="No entry matches.">{(entries) => <List entries={entries} />}</Listed>
    </Section>
  );
}

function List(p: { entries: Entry[] }) {
  return (
    <Box className="card entries" tabIndex={0} style={{ overflowX: "auto" }}>
      <Table>
        <Table.Thead>
          <Table.Tr><Table.Th className="num wide-only">No.</Table.Th><Table.Th>When</Table.Th><Table.Th>What</Table.Th><Table.Th>Outcome</Table.Th><Table.Th>Who</Table.Th><Table.Th>On</Table.Th><Table.Th>Details</Table.Th></Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {p.entries.map((e) => (
            <Table.Tr key={e.seq}>
              <Table.Td className="num wide-only">{e.seq}</Table.Td>
              <Table.Td><When t={e.time} /></Table.Td>
              <Table.Td style={{ whiteSpace: "nowrap" }}>{e.action}{e.verb && <Text span size="xs" c="dimmed"> {e.verb}</Text>}</Table.Td>
              <Table.Td><State of={e.outcome} /></Table.Td>
              <Table.Td><Who name={e.identity ?? "–"} kind={e.kind} actor={e.actor} /></Table.Td>
              <Table.Td><Text size="sm" className="wrap" miw={100} maw={200}>{visible(e.resource ?? e.target ?? "")}</Text></Table.Td>
              <Table.Td className="entry-details"><Details entry={e} /></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

function Details({ entry: e }: { entry: Entry }) {
  const about = visible([e.objects?.join(", "), e.rule, e.reason].filter(Boolean).join(" · "));
  return (
    <Group gap="2px 8px">
      {e.session && <Link to="/sessions/$id" params={{ id: e.session }} search={e.n ? { n: e.n } : {}} className="mono">{e.session.slice(0, 10)}…</Link>}
      {e.review && <Link to="/reviews/$id" params={{ id: e.review }} className="mono">{e.review.slice(0, 10)}…</Link>}
      {about && <Text size="xs" c="dimmed" className="wrap">{about}</Text>}
    </Group>
  );
}

import { Badge, Box, Button, Group, SegmentedControl, Table, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { sessions, type Session } from "../api/queries";
import { never, span, When, Who } from "../parts/format";
import { Loaded, Nothing, Page } from "../parts/page";
import { useRoles } from "../shell";

/** SessionsPage lists sessions: everybody's for auditors, one's own for others. */
export function SessionsPage() {
  const { auditor } = useRoles();
  const [show, setShow] = useState("all");
  const [identity, setIdentity] = useState("");
  const [resource, setResource] = useState("");
  const [limit, setLimit] = useState(100);
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
      <Loaded query={query}>
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
      </Loaded>
    </Page>
  );
}

function List(p: { sessions: Session[] }) {
  return (
    <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Identity</Table.Th><Table.Th>Resource</Table.Th><Table.Th className="wide-only">Client</Table.Th><Table.Th>Began</Table.Th>
            <Table.Th>Lasted</Table.Th><Table.Th className="num">Commands</Table.Th><Table.Th className="num">Denied</Table.Th><Table.Th className="num">Masked</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {p.sessions.map((s) => (
            <Table.Tr key={s.id}>
              <Table.Td><Link to="/sessions/$id" params={{ id: s.id }} className="plain"><Who name={s.identity} kind={s.kind} actor={s.actor} /></Link></Table.Td>
              <Table.Td>{s.resource}<Text span size="xs" c="dimmed"> {s.protocol}</Text></Table.Td>
              <Table.Td className="wide-only">{s.client || "–"}</Table.Td>
              <Table.Td><When t={s.started_at} /></Table.Td>
              <Table.Td>{never(s.ended_at) ? <Badge color="teal">live</Badge> : span(Date.parse(s.ended_at!) - Date.parse(s.started_at))}</Table.Td>
              <Table.Td className="num">{s.commands}</Table.Td>
              <Table.Td className="num">{s.denied ? <Text span c="red" size="sm">{s.denied}</Text> : 0}</Table.Td>
              <Table.Td className="num">{s.masked_values}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

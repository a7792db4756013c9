import { Badge, Button, Group, Select, SimpleGrid, Stack, Table, Text, TextInput, Textarea } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, data, type Schemas } from "../api/client";
import { resources } from "../api/queries";
import { State } from "../parts/format";
import { Page, Refused, Section } from "../parts/page";
import { Understood } from "../parts/understood";

/** CheckPage says what would be decided over a command, and by what. */
export function CheckPage() {
  const reachable = useQuery(resources).data ?? [];
  const [resource, setResource] = useState("");
  const [as, setAs] = useState("");
  const [command, setCommand] = useState("");
  const ask = useMutation({
    mutationFn: () => data(api.POST("/policy/explain", { body: { resource, command, ...(as.trim() ? { as: as.trim() } : {}) } })),
  });
  return (
    <Page title="Who can do what" lead="The gateway's own decision over a command, without running it.">
      <Stack
        className="card" p="sm" gap="sm" component="form"
        onSubmit={(e: React.FormEvent) => { e.preventDefault(); ask.mutate(); }}
      >
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <Select
            label="Resource" data={reachable.map((r) => r.name)} value={resource || null} searchable onSearchChange={setResource} searchValue={resource}
            onChange={(v) => setResource(v ?? "")} nothingFoundMessage="Any resource's name"
          />
          <TextInput label="As" placeholder="myself" description="A user's name, or KIND:NAME" value={as} onChange={(e) => setAs(e.currentTarget.value)} />
        </SimpleGrid>
        <Textarea
          label="Command" autosize minRows={3} value={command} onChange={(e) => setCommand(e.currentTarget.value)} spellCheck={false}
          styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
        />
        <Group justify="flex-end"><Button type="submit" loading={ask.isPending} disabled={!resource || !command.trim()}>Ask</Button></Group>
      </Stack>
      {ask.error && <Refused error={ask.error} />}
      {ask.data && <Answer answer={ask.data} />}
    </Page>
  );
}

function Answer({ answer: a }: { answer: Schemas["Answer"] }) {
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
      <Section title="Decision">
        <Stack className="card" p="sm" gap="xs">
          <Group gap={8}><State of={a.decision} />{a.rule && <Text size="sm">by <b>{a.rule}</b></Text>}</Group>
          {a.reason && <Text size="sm" className="wrap">{a.reason}</Text>}
          {a.review && <Text size="sm" c="dimmed">{a.review.approvals} of {(a.review.approvers ?? []).join(", ")} must approve.</Text>}
          {(a.masks ?? []).map((m) => (
            <Text key={m.name} size="sm" c="dimmed">masked by {m.name}: {[...(m.columns ?? []), ...(m.detect ?? [])].join(", ")} ({m.with})</Text>
          ))}
        </Stack>
      </Section>
      <Section title="What was understood">
        <Stack className="card" p="sm" gap="md">{(a.commands ?? []).map((c, i) => <Understood key={i} command={c} />)}</Stack>
      </Section>
      {(a.steps ?? []).length > 0 && (
        <Section title="What was considered">
          <div className="card">
            <Table>
              <Table.Thead><Table.Tr><Table.Th>Object</Table.Th><Table.Th>Applies</Table.Th><Table.Th>Outcome</Table.Th></Table.Tr></Table.Thead>
              <Table.Tbody>
                {a.steps!.map((s, i) => (
                  <Table.Tr key={i}>
                    <Table.Td><Link to="/policy/$kind/$name" params={{ kind: s.kind, name: s.name }} className="plain">{s.kind} {s.name}</Link></Table.Td>
                    <Table.Td>{s.applies ? <Badge>yes</Badge> : <Text size="xs" c="dimmed">no</Text>}</Table.Td>
                    <Table.Td className="wrap">{s.outcome}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
        </Section>
      )}
    </SimpleGrid>
  );
}

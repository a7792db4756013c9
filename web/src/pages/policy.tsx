import { Alert, Badge, Box, Button, Group, Menu, SegmentedControl, Table, Text, TextInput } from "@mantine/core";
import { IconAlertTriangle, IconPlus, IconSearch, IconShieldQuestion } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { objects, shadows, status, type Document } from "../api/queries";
import { Loaded, Nothing, Page } from "../parts/page";
import { useRoles } from "../shell";

export const kinds = ["Resource", "Access", "Rule", "Mask", "Classification", "Recordings", "ServiceAccount"];

/** PolicyPage lists the objects in force, and says where each is kept. */
export function PolicyPage() {
  const { admin } = useRoles();
  const query = useQuery(objects);
  const now = useQuery(status).data;
  const [kind, setKind] = useState("all");
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase();
  return (
    <Page
      title="Policy"
      lead={now && <>Version <span className="mono">{now.policy.slice(0, 12)}</span> is in force.</>}
      actions={
        <>
          <Button component={Link} to="/policy/check" variant="default" leftSection={<IconShieldQuestion size={14} />}>Who can do what</Button>
          {admin && (
            <Menu position="bottom-end">
              <Menu.Target><Button leftSection={<IconPlus size={14} />}>New</Button></Menu.Target>
              <Menu.Dropdown>
                {kinds.map((k) => <Menu.Item key={k} component={Link} to={`/policy/new/${k}`}>{k}</Menu.Item>)}
              </Menu.Dropdown>
            </Menu>
          )}
        </>
      }
    >
      {now?.problem && (
        <Alert color="red" icon={<IconAlertTriangle size={16} />} title="The latest change isn't in force">
          <Text size="sm" className="wrap">{now.problem}</Text>
        </Alert>
      )}
      {(now?.warnings ?? []).length > 0 && (
        <Alert color="yellow" icon={<IconAlertTriangle size={16} />} title="Probably mistaken">
          {now!.warnings!.map((w) => <Text key={w} size="sm" className="wrap">{w}</Text>)}
        </Alert>
      )}
      <Shadows />
      <Group justify="space-between" gap="xs">
        <SegmentedControl aria-label="Kind" value={kind} onChange={setKind} data={[{ value: "all", label: "All" }, ...kinds]} style={{ maxWidth: "100%", overflowX: "auto" }} />
        <TextInput placeholder="Find" aria-label="Find objects" leftSection={<IconSearch size={14} />} w={200} value={text} onChange={(e) => setText(e.currentTarget.value)} />
      </Group>
      <Loaded query={query}>
        {(all) => {
          const found = all.filter((o) => (kind === "all" || o.kind === kind) && (!wanted || o.name.includes(wanted) || o.yaml.toLowerCase().includes(wanted)));
          return found.length === 0 ? <Nothing>No object matches.</Nothing> : <List objects={found} />;
        }}
      </Loaded>
    </Page>
  );
}

/** Shadows counts what rules in shadow mode would have done. */
function Shadows() {
  const all = useQuery(shadows).data ?? [];
  if (all.length === 0) return null;
  const byRule = new Map<string, number>();
  for (const s of all) byRule.set(s.rule, (byRule.get(s.rule) ?? 0) + s.commands);
  return (
    <Alert color="grape" title="Rules in shadow mode would have acted">
      {[...byRule].map(([rule, n]) => <Text key={rule} size="sm"><Link to="/policy/$kind/$name" params={{ kind: "Rule", name: rule }}>{rule}</Link>: {n} commands</Text>)}
    </Alert>
  );
}

function List(p: { objects: Document[] }) {
  return (
    <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
      <Table>
        <Table.Thead><Table.Tr><Table.Th>Kind</Table.Th><Table.Th>Name</Table.Th><Table.Th className="wide-only">In short</Table.Th><Table.Th className="wide-only">Kept in</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {p.objects.map((o) => (
            <Table.Tr key={`${o.kind} ${o.name}`}>
              <Table.Td><Badge color="gray">{o.kind}</Badge></Table.Td>
              <Table.Td><Link to="/policy/$kind/$name" params={{ kind: o.kind, name: o.name }} className="plain"><Text size="sm" fw={500}>{o.name}</Text></Link></Table.Td>
              <Table.Td className="wide-only"><Text className="mono one-line" c="dimmed">{inShort(o.yaml)}</Text></Table.Td>
              <Table.Td className="wide-only"><Text size="xs" c="dimmed" className="one-line" title={o.source}>{o.source === "api" ? "the gateway's store" : o.source}</Text></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

/** A document without its first two lines, which say kind and name, as one line. */
function inShort(yaml: string): string {
  return yaml.split("\n").slice(2).map((l) => l.trim()).filter(Boolean).join("  ");
}

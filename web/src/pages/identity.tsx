import { Badge, Box, Button, Group, Modal, Stack, Table, TagsInput, Text, TextInput } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "../api/client";
import { delegations, scimTokens, serviceAccounts, useChange, users, type Account } from "../api/queries";
import { Line, When } from "../parts/format";
import { Loaded, Nothing, Page, Refused, Section } from "../parts/page";
import { useRoles } from "../shell";
import { Trust } from "./trust";

/** IdentityPage is who there is, and whose rights can be taken back. */
export function IdentityPage() {
  const { who, admin, auditor } = useRoles();
  return (
    <Page title="Identity" lead="Who acts, and on whose behalf.">
      {who && (
        <Section title="Me">
          <Group className="card" p="sm" gap="lg">
            <Box><Text size="xs" c="dimmed">Name</Text><Text size="sm">{who.name}</Text></Box>
            <Box><Text size="xs" c="dimmed">Kind</Text><Text size="sm">{who.kind}</Text></Box>
            <Box><Text size="xs" c="dimmed">Groups</Text><Text size="sm">{(who.groups ?? []).join(", ") || "none"}</Text></Box>
            <Box><Text size="xs" c="dimmed">Roles</Text><Text size="sm">{(who.roles ?? []).join(", ") || "none"}</Text></Box>
          </Group>
        </Section>
      )}
      <Delegations />
      {admin && <Users />}
      {admin && <Services />}
      {admin && <Directories />}
      {auditor && <Trust />}
    </Page>
  );
}

/** Delegations are who may act in my name; ending one ends what runs under it. */
function Delegations() {
  const query = useQuery(delegations);
  const end = useChange((id: string) => data(api.DELETE("/delegations/{id}", { params: { path: { id } } })), "accounts", "sessions");
  return (
    <Section title="Who may act in my name">
      {end.error && <Refused error={end.error} />}
      <Loaded query={query}>
        {(all) => {
          const now = all.filter((d) => !d.ended && Date.parse(d.expires_at) > Date.now());
          return now.length === 0 ? <Nothing>Nobody. A delegation is made with: postern delegate</Nothing> : (
            <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
              <Table>
                <Table.Thead><Table.Tr><Table.Th>Who</Table.Th><Table.Th>For</Table.Th><Table.Th>Where</Table.Th><Table.Th>What</Table.Th><Table.Th>Ends</Table.Th><Table.Th /></Table.Tr></Table.Thead>
                <Table.Tbody>
                  {now.map((d) => (
                    <Table.Tr key={d.id}>
                      <Table.Td fw={500}>{d.actor}</Table.Td>
                      <Table.Td>{d.identity}</Table.Td>
                      <Table.Td>{(d.resources ?? []).join(", ") || "everywhere"}</Table.Td>
                      <Table.Td>{[(d.verbs ?? []).join(", ") || "all that both may", d.rows_per_hour ? `${d.rows_per_hour} rows an hour` : ""].filter(Boolean).join("; ")}</Table.Td>
                      <Table.Td><When t={d.expires_at} /></Table.Td>
                      <Table.Td className="num"><Button size="compact-xs" variant="subtle" color="red" onClick={() => end.mutate(d.id)}>End</Button></Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Box>
          );
        }}
      </Loaded>
    </Section>
  );
}

/** Directories keep people and groups over SCIM. */
function Directories() {
  const query = useQuery(scimTokens);
  return (
    <Section title="Directories (SCIM)">
      <Loaded query={query}>
        {(all) => all.length === 0 ? <Nothing>None keeps people here. One is let in with: postern scim-token create</Nothing> : (
          <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
            <Table>
              <Table.Thead><Table.Tr><Table.Th>Name</Table.Th><Table.Th>For provider</Table.Th><Table.Th>Ends</Table.Th><Table.Th>State</Table.Th></Table.Tr></Table.Thead>
              <Table.Tbody>
                {all.map((t) => (
                  <Table.Tr key={t.name}><Table.Td fw={500}>{t.name}</Table.Td><Table.Td>{t.provider}</Table.Td><Table.Td><When t={t.expires_at} /></Table.Td><Table.Td>{t.revoked ? <Badge color="red">revoked</Badge> : <Badge color="teal">in use</Badge>}</Table.Td></Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Box>
        )}
      </Loaded>
    </Section>
  );
}

function Users() {
  const query = useQuery(users);
  const set = useChange(
    (v: { name: string; on: boolean }) => data(v.on ? api.POST("/users/{name}/enable", { params: { path: { name: v.name } } }) : api.POST("/users/{name}/disable", { params: { path: { name: v.name } } })),
    "accounts", "sessions", "tokens",
  );
  return (
    <Section title="People">
      {set.error && <Refused error={set.error} />}
      <Loaded query={query}>{(all) => <Accounts accounts={all} set={(name, on) => set.mutate({ name, on })} />}</Loaded>
    </Section>
  );
}

function Services() {
  const query = useQuery(serviceAccounts);
  const [making, setMaking] = useState(false);
  const [key, setKey] = useState<{ name: string; key: string }>();
  const rotate = useChange((name: string) => data(api.POST("/service-accounts/{name}/rotate", { params: { path: { name } } })), "accounts", "sessions");
  const set = useChange(
    (v: { name: string; on: boolean }) => data(v.on ? api.POST("/service-accounts/{name}/enable", { params: { path: { name: v.name } } }) : api.POST("/service-accounts/{name}/disable", { params: { path: { name: v.name } } })),
    "accounts", "sessions", "tokens",
  );
  return (
    <Section title="Service accounts" aside={<Button leftSection={<IconPlus size={14} />} onClick={() => setMaking(true)}>New</Button>}>
      {(set.error ?? rotate.error) && <Refused error={set.error ?? rotate.error} />}
      <Loaded query={query}>
        {(all) => (
          <Accounts
            accounts={all} set={(name, on) => set.mutate({ name, on })}
            more={(a) => <Button size="compact-xs" variant="subtle" onClick={() => rotate.mutate(a.name, { onSuccess: (made) => setKey(made) })}>New key</Button>}
          />
        )}
      </Loaded>
      {making && <NewService close={() => setMaking(false)} made={(k) => { setMaking(false); setKey(k); }} />}
      <Modal opened={!!key} onClose={() => setKey(undefined)} title={`The key of ${key?.name ?? ""}`} size="lg">
        <Stack gap="xs">
          {key && <Line text={key.key} label="Copy the key" />}
          <Text size="xs" c="dimmed">It isn't shown again. Programs send it as POSTERN_TOKEN.</Text>
        </Stack>
      </Modal>
    </Section>
  );
}

function NewService(p: { close: () => void; made: (key: { name: string; key: string }) => void }) {
  const [name, setName] = useState("");
  const [groups, setGroups] = useState<string[]>([]);
  const make = useChange((v: { name: string; groups: string[] }) => data(api.POST("/service-accounts", { body: v })), "accounts");
  return (
    <Modal opened onClose={p.close} title="New service account">
      <Stack gap="sm" component="form" onSubmit={(e: React.FormEvent) => { e.preventDefault(); make.mutate({ name, groups }, { onSuccess: (k) => p.made(k) }); }}>
        <TextInput label="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
        <TagsInput label="Groups" size="xs" value={groups} onChange={setGroups} />
        {make.error && <Refused error={make.error} />}
        <Group justify="flex-end"><Button type="submit" loading={make.isPending} disabled={!name.trim()}>Make it</Button></Group>
      </Stack>
    </Modal>
  );
}

function Accounts(p: { accounts: Account[]; set: (name: string, on: boolean) => void; more?: (a: Account) => React.ReactNode }) {
  if (p.accounts.length === 0) return <Nothing>There are none.</Nothing>;
  return (
    <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
      <Table>
        <Table.Thead><Table.Tr><Table.Th>Name</Table.Th><Table.Th>Groups</Table.Th><Table.Th className="wide-only">Kept in</Table.Th><Table.Th>State</Table.Th><Table.Th className="wide-only">Since</Table.Th><Table.Th /></Table.Tr></Table.Thead>
        <Table.Tbody>
          {p.accounts.map((a) => (
            <Table.Tr key={a.name}>
              <Table.Td fw={500}>{a.name}</Table.Td>
              <Table.Td>{(a.groups ?? []).join(", ")}</Table.Td>
              <Table.Td className="wide-only"><Text size="xs" c="dimmed" className="one-line">{a.source === "api" ? "the gateway's store" : a.source}</Text></Table.Td>
              <Table.Td>{a.disabled ? <Badge color="red">disabled</Badge> : <Badge color="teal">enabled</Badge>}</Table.Td>
              <Table.Td className="wide-only"><When t={a.created_at} /></Table.Td>
              <Table.Td className="num">
                {p.more?.(a)}
                {a.disabled
                  ? <Button size="compact-xs" variant="subtle" onClick={() => p.set(a.name, true)}>Enable</Button>
                  : <Button size="compact-xs" variant="subtle" color="red" onClick={() => p.set(a.name, false)}>Disable</Button>}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

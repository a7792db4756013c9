import { ActionIcon, Badge, Box, Button, Group, Menu, Modal, Select, SimpleGrid, Stack, Table, Text, Textarea, TextInput, Tooltip } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { IconBrandMysql, IconCloudComputing, IconDatabase, IconHandStop, IconKey, IconPlug, IconSearch, IconServer, IconTerminal2, IconWorld } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState, type ReactNode } from "react";
import { ask, kill, mint, requests, resources, revoke, sessions, tokens, useChange, type Refusal, type Resource } from "../api/queries";
import { Left, Line, never, When } from "../parts/format";
import { Loaded, Nothing, Page, Refused, Section } from "../parts/page";
import { useRoles } from "../shell";
import { Requests } from "./reviews";

const icons: Record<string, ReactNode> = {
  postgres: <IconDatabase size={18} />,
  mysql: <IconBrandMysql size={18} />,
  ssh: <IconTerminal2 size={18} />,
  kubernetes: <IconCloudComputing size={18} />,
  http: <IconWorld size={18} />,
};

/** HomePage is what the signed-in identity can reach, and what it has open. */
export function HomePage() {
  const { who } = useRoles();
  return (
    <Page title="Home" lead="What you can reach, and what you have open.">
      {who && <Refusals all={who.refusals ?? []} />}
      <Reachable />
      {who && <OpenSessions name={who.name} />}
      {who && <MyRequests name={who.name} />}
      <Tokens />
    </Page>
  );
}

/** Refusals are tokens of mine with which somebody was refused: there may be a copy. */
function Refusals(p: { all: Refusal[] }) {
  const end = useChange(revoke, "tokens", "sessions");
  if (p.all.length === 0) return null;
  return (
    <Section title="Refused with your tokens">
      {end.error && <Refused error={end.error} />}
      <Text size="sm" c="dimmed" mb="xs">If that wasn't you, somebody has a copy.</Text>
      <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
        <Table>
          <Table.Thead><Table.Tr><Table.Th>Token</Table.Th><Table.Th>For</Table.Th><Table.Th>Times</Table.Th><Table.Th>Last</Table.Th><Table.Th>Why</Table.Th><Table.Th /></Table.Tr></Table.Thead>
          <Table.Tbody>
            {p.all.map((r) => (
              <Table.Tr key={r.token}>
                <Table.Td>{r.token}</Table.Td>
                <Table.Td>{r.resource ?? r.kind}</Table.Td>
                <Table.Td className="num">{r.times}</Table.Td>
                <Table.Td><When t={r.at} /></Table.Td>
                <Table.Td>{r.why}</Table.Td>
                <Table.Td className="num"><Button size="compact-xs" variant="subtle" color="red" onClick={() => end.mutate(r.token)}>Revoke</Button></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Box>
    </Section>
  );
}

function Reachable() {
  const query = useQuery(resources);
  const [text, setText] = useState("");
  const [wanted] = useDebouncedValue(text.trim().toLowerCase(), 120);
  const found = useMemo(() => (query.data ?? []).filter((r) => matches(r, wanted)), [query.data, wanted]);
  return (
    <Section
      title="Resources"
      aside={
        <TextInput
          placeholder="Name, type or label" aria-label="Search resources" leftSection={<IconSearch size={14} />} w={{ base: "100%", xs: 240 }}
          value={text} onChange={(e) => setText(e.currentTarget.value)}
        />
      }
    >
      <Loaded query={query}>
        {(all) =>
          found.length === 0 ? (
            <Nothing>{all.length === 0 ? "No access lets you reach anything yet. Ask an administrator." : "Nothing matches."}</Nothing>
          ) : (
            <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} spacing="sm">
              {found.map((r) => <ResourceCard key={r.name} resource={r} />)}
            </SimpleGrid>
          )
        }
      </Loaded>
    </Section>
  );
}

function matches(r: Resource, text: string): boolean {
  if (!text) return true;
  const labels = Object.entries(r.labels ?? {}).map(([k, v]) => `${k}=${v}`);
  return [r.name, r.type, ...labels].some((s) => s.toLowerCase().includes(text));
}

function ResourceCard({ resource: r }: { resource: Resource }) {
  const [entering, setEntering] = useState(false);
  const [asking, setAsking] = useState(false);
  return (
    <Stack className="card" p="sm" gap={8}>
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <Group gap={8} wrap="nowrap">
          <Box c="dimmed" title={r.type}>{icons[r.type] ?? <IconServer size={18} />}</Box>
          <Box>
            <Text fw={600} size="sm" className="wrap">{r.name}</Text>
            <Text size="xs" c="dimmed">{r.type}{r.database ? `, ${r.database}` : ""}</Text>
          </Box>
        </Group>
        {r.open ? <Badge color="teal">open</Badge> : <Badge color="gray">{r.requestable ? "on request" : "closed"}</Badge>}
      </Group>
      <Group gap={4}>
        {Object.entries(r.labels ?? {}).map(([k, v]) => <Badge key={k} color="gray" className="label">{k}={v}</Badge>)}
      </Group>
      <Text size="xs" c="dimmed">
        {(r.verbs ?? []).length ? `May: ${r.verbs!.join(", ")}` : "May do anything that no rule denies"} · by {(r.access ?? []).join(", ")}
      </Text>
      {r.open && <Line text={`postern connect ${r.name}`} />}
      <Group gap={6} mt="auto">
        {r.open && (
          <Button variant="light" leftSection={<IconKey size={14} />} onClick={() => setEntering(true)}>
            Connection string
          </Button>
        )}
        {r.open && r.type === "postgres" && (
          <Button variant="default" component={Link} to={`/sql/${r.name}`} leftSection={<IconPlug size={14} />}>
            SQL
          </Button>
        )}
        {r.open && r.type === "ssh" && (
          <Button variant="default" component={Link} to={`/terminal/${r.name}`} leftSection={<IconTerminal2 size={14} />}>
            Terminal
          </Button>
        )}
        {!r.open && r.requestable && <Button leftSection={<IconHandStop size={14} />} onClick={() => setAsking(true)}>Ask for access</Button>}
      </Group>
      {asking && <Ask resource={r} close={() => setAsking(false)} />}
      {entering && <Enter resource={r} close={() => setEntering(false)} />}
    </Stack>
  );
}

/** Enter mints a session token and shows, once, the line with which it is used. */
function Enter(p: { resource: Resource; close: () => void }) {
  const [ttl, setTTL] = useState("15m");
  const make = useChange(mint, "tokens");
  const made = make.data;
  return (
    <Modal opened onClose={p.close} title={`Enter ${p.resource.name}`} size="lg">
      <Stack gap="sm">
        {!made && (
          <>
            <Select label="Opens sessions for" data={["5m", "15m", "1h", "8h"]} value={ttl} onChange={(v) => setTTL(v ?? "15m")} allowDeselect={false} />
            <Text size="xs" c="dimmed">The token opens this resource alone, as you. Sessions that it opened go on until your access ends.</Text>
            {make.error && <Refused error={make.error} />}
            <Group justify="flex-end">
              <Button loading={make.isPending} onClick={() => make.mutate({ resource: p.resource.name, ttl })}>Make a session token</Button>
            </Group>
          </>
        )}
        {made && (
          <>
            {made.dsn && <Line text={made.dsn} label="Copy the connection string" />}
            {made.protocol === "postgres" && <Line text={`psql "host=${made.host} port=${made.port} dbname=${made.database} user=${made.user} sslmode=require"`} />}
            <Line text={made.token} label="Copy the token" />
            <Group justify="space-between">
              <Text size="xs" c="dimmed">The token is the password. It isn't shown again.</Text>
              <Left until={made.expires_at} />
            </Group>
          </>
        )}
      </Stack>
    </Modal>
  );
}

/** Ask asks for access that isn't there now. */
function Ask(p: { resource: Resource; close: () => void }) {
  return (
    <Modal opened onClose={p.close} title={`Ask for access to ${p.resource.name}`}>
      <AskForm resource={p.resource.name} />
    </Modal>
  );
}

/** AskForm is a request as it is written. */
export function AskForm(p: { resource: string; access?: string }) {
  const navigate = useNavigate();
  const [span, setSpan] = useState("1h");
  const [reason, setReason] = useState("");
  const [ticket, setTicket] = useState("");
  const send = useChange(ask, "requests");
  return (
      <Stack
        gap="sm" component="form"
        onSubmit={(e: React.FormEvent) => {
          e.preventDefault();
          send.mutate(
            { resource: p.resource, for: span, reason, ...(p.access ? { access: p.access } : {}), ...(ticket ? { ticket } : {}) },
            { onSuccess: (r) => void navigate({ to: "/requests/$id", params: { id: r.id } }) },
          );
        }}
      >
        <Select label="For" data={["30m", "1h", "2h", "4h", "8h"]} value={span} onChange={(v) => setSpan(v ?? "1h")} allowDeselect={false} />
        <Textarea label="Reason" description="Approvers read it, and the audit log keeps it." required autosize minRows={2} maxLength={2000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} data-autofocus />
        <TextInput label="Ticket" description="Where the work is planned, if it is." maxLength={200} value={ticket} onChange={(e) => setTicket(e.currentTarget.value)} />
        {send.error && <Refused error={send.error} />}
        <Group justify="flex-end"><Button type="submit" loading={send.isPending} disabled={!reason.trim()}>Ask</Button></Group>
      </Stack>
  );
}

/** NewRequestPage is where a refusal's link leads. */
export function NewRequestPage() {
  const { resource, access } = useSearch({ from: "/requests/new" });
  return (
    <Page title={`Ask for access to ${resource}`}>
      <Box className="card" p="md" maw={560}><AskForm resource={resource} access={access} /></Box>
    </Page>
  );
}

function MyRequests(p: { name: string }) {
  const query = useQuery(requests());
  return (
    <Section title="My requests">
      <Loaded query={query}>
        {(all) => {
          const mine = all.filter((r) => r.identity === p.name).slice(0, 10);
          return mine.length === 0 ? <Nothing>You have asked for nothing.</Nothing> : <Requests requests={mine} />;
        }}
      </Loaded>
    </Section>
  );
}

function OpenSessions(p: { name: string }) {
  const query = useQuery(sessions({ identity: p.name, live: "true" }));
  const end = useChange(kill, "sessions");
  return (
    <Section title="My live sessions">
      <Loaded query={query}>
        {(page) =>
          (page.items ?? []).length === 0 ? (
            <Nothing>You have no session open.</Nothing>
          ) : (
            <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
              <Table>
                <Table.Thead>
                  <Table.Tr><Table.Th>Resource</Table.Th><Table.Th>Client</Table.Th><Table.Th>Began</Table.Th><Table.Th className="num">Commands</Table.Th><Table.Th /></Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {(page.items ?? []).map((s) => (
                    <Table.Tr key={s.id}>
                      <Table.Td><Link to="/sessions/$id" params={{ id: s.id }} className="plain">{s.resource}</Link></Table.Td>
                      <Table.Td>{s.client || "–"}</Table.Td>
                      <Table.Td><When t={s.started_at} /></Table.Td>
                      <Table.Td className="num">{s.commands}</Table.Td>
                      <Table.Td className="num">
                        <Button size="compact-xs" variant="subtle" color="red" onClick={() => end.mutate({ id: s.id })}>End</Button>
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Box>
          )
        }
      </Loaded>
    </Section>
  );
}

/** What each kind of token is to the person who holds it. */
const kinds: Record<string, string> = {
  session: "Session token", login: "Login of a program", web: "Login of a browser", certificate: "Certificate", "ssh-key": "SSH key",
};

function Tokens() {
  const query = useQuery(tokens);
  const end = useChange(revoke, "tokens", "sessions");
  return (
    <Section title="My tokens, keys and certificates">
      <Loaded query={query}>
        {(all) => {
          const good = all.filter((t) => !t.revoked && (never(t.expires_at) || Date.parse(t.expires_at) > Date.now()));
          if (good.length === 0) return <Nothing>You hold no token that still opens anything.</Nothing>;
          return (
            <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
              <Table>
                <Table.Thead>
                  <Table.Tr><Table.Th>What</Table.Th><Table.Th>Made</Table.Th><Table.Th>Ends</Table.Th><Table.Th className="num">Uses</Table.Th><Table.Th /></Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {good.map((t) => (
                    <Table.Tr key={t.id}>
                      <Table.Td>{kinds[t.kind] ?? t.kind}{t.resource ? ` for ${t.resource}` : ""}{t.comment && <Text span size="xs" c="dimmed"> {t.comment}</Text>}</Table.Td>
                      <Table.Td><When t={t.created_at} /></Table.Td>
                      <Table.Td>{never(t.expires_at) ? "never" : <When t={t.expires_at} />}</Table.Td>
                      <Table.Td className="num">{t.uses}{t.max_uses ? ` of ${t.max_uses}` : ""}</Table.Td>
                      <Table.Td className="num">
                        <Menu>
                          <Menu.Target>
                            <Tooltip label="Revoke"><ActionIcon aria-label={`Revoke the token for ${t.resource ?? "this gateway"}`} color="red"><IconKey size={14} /></ActionIcon></Tooltip>
                          </Menu.Target>
                          <Menu.Dropdown>
                            <Menu.Label>Sessions that it opened end, too.</Menu.Label>
                            <Menu.Item
                              color="red"
                              onClick={() => end.mutate(t.id, { onError: (e) => notifications.show({ color: "red", message: e.message }) })}
                            >
                              Revoke it now
                            </Menu.Item>
                          </Menu.Dropdown>
                        </Menu>
                      </Table.Td>
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

import { Autocomplete, Badge, Box, Button, Group, Modal, MultiSelect, Select, Stack, Table, Text, Textarea, TextInput } from "@mantine/core";
import { IconCheck, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, type Schemas } from "../api/client";
import { objects, offlineGrants, useChange, users } from "../api/queries";
import { lasts, Line, visible, When } from "../parts/format";
import { Loaded, Nothing, Refused, Section } from "../parts/page";
import { useRoles } from "../shell";

type Grant = Schemas["OfflineGrant"];
type Issued = Schemas["IssuedOfflineGrant"];

/** OfflineGrants are codes in safes: who has which, until when, and whether it was used. */
export function OfflineGrants() {
  const { who, admin } = useRoles();
  const query = useQuery(offlineGrants);
  const [issuing, setIssuing] = useState(false);
  const [issued, setIssued] = useState<Issued>();
  if (!admin && (query.data ?? []).length === 0) return null;
  return (
    <Section title="Emergency access, issued ahead of time" aside={admin && <Button leftSection={<IconPlus size={14} />} onClick={() => setIssuing(true)}>Issue</Button>}>
      <Loaded query={query}>
        {(all) => all.length === 0 ? <Nothing>None. It is a code in a safe, for the day on which nobody can sign in.</Nothing> : (
          <Grants grants={all} me={who ? `${who.kind}:${who.name}` : ""} admin={admin} />
        )}
      </Loaded>
      {issuing && <Issue close={() => setIssuing(false)} made={(g) => { setIssuing(false); setIssued(g); }} />}
      <Modal opened={!!issued} onClose={() => setIssued(undefined)} title={`The code of ${issued?.id ?? ""}`} size="lg">
        <Stack gap="xs">
          {issued && <Line text={issued.code} label="Copy the code" />}
          <Text size="xs" c="dimmed">
            For the safe of {issued?.identity}. It isn't shown again.
            {issued?.state === "pending" && ` It opens nothing before ${issued.approvals} of those who may approve it have done so.`}
          </Text>
        </Stack>
      </Modal>
    </Section>
  );
}

function Grants(p: { grants: Grant[]; me: string; admin: boolean }) {
  const revoke = useChange((id: string) => data(api.POST("/offline-grants/{id}/revoke", { params: { path: { id } }, body: {} })), "requests");
  const [approving, setApproving] = useState<Grant>();
  return (
    <>
      {revoke.error && <Refused error={revoke.error} />}
      <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
        <Table>
          <Table.Thead><Table.Tr><Table.Th>For</Table.Th><Table.Th>Opens</Table.Th><Table.Th>State</Table.Th><Table.Th>Until</Table.Th><Table.Th>Issued by</Table.Th><Table.Th /></Table.Tr></Table.Thead>
          <Table.Tbody>
            {p.grants.map((g) => (
              <Table.Tr key={g.id}>
                <Table.Td fw={500}>{g.identity}</Table.Td>
                <Table.Td>
                  {opens(g)}, for {lasts(g.for)}
                  <Text size="xs" c="dimmed" className="wrap">{visible(g.reason)}</Text>
                </Table.Td>
                <Table.Td>
                  <Badge color={g.state === "ready" ? "teal" : g.state === "used" ? "red" : g.state === "pending" ? "yellow" : "gray"}>{g.state}</Badge>
                  {g.problem && <Text size="xs" c="dimmed" className="wrap">{g.problem}</Text>}
                  {g.state === "pending" && <Text size="xs" c="dimmed">{(g.votes ?? []).length} of {g.approvals} approvals</Text>}
                  {g.used_at && <Text size="xs" c="dimmed" className="wrap"><When t={g.used_at} /> from {g.used_from}: {visible(g.used_for ?? "")}</Text>}
                </Table.Td>
                <Table.Td><When t={g.expires_at} /></Table.Td>
                <Table.Td>{g.issued_by}</Table.Td>
                <Table.Td className="num">
                  {g.may_approve && <Button size="compact-xs" variant="subtle" color="teal" onClick={() => setApproving(g)}>Approve</Button>}
                  {["ready", "pending", "void"].includes(g.state) && (p.admin || g.identity === p.me) && <Button size="compact-xs" variant="subtle" color="red" onClick={() => revoke.mutate(g.id)}>Revoke</Button>}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Box>
      {approving && <Approve grant={approving} close={() => setApproving(undefined)} />}
    </>
  );
}

const opens = (g: Grant) => (g.resources ?? []).map((r) => r.resource).join(", ");

/** Approve is a second person's word for a code. */
function Approve({ grant: g, close }: { grant: Grant; close: () => void }) {
  const [reason, setReason] = useState("");
  const approve = useChange((why: string) => data(api.POST("/offline-grants/{id}/approve", { params: { path: { id: g.id } }, body: why ? { reason: why } : {} })), "requests");
  return (
    <Modal opened onClose={close} title="Approve emergency access">
      <Stack gap="sm" component="form" onSubmit={(e: React.FormEvent) => { e.preventDefault(); approve.mutate(reason, { onSuccess: close }); }}>
        <Text size="sm">
          With its code, {g.identity} enters {opens(g)} for {lasts(g.for)}, once, when nobody can sign in. {g.issued_by} issued it: {visible(g.reason)}
        </Text>
        <Textarea label="Reason" description="The audit log keeps it." autosize minRows={2} maxLength={2000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} data-autofocus />
        {approve.error && <Refused error={approve.error} />}
        <Group justify="flex-end"><Button type="submit" color="teal" leftSection={<IconCheck size={16} />} loading={approve.isPending}>Approve it</Button></Group>
      </Stack>
    </Modal>
  );
}

/** Issue makes a code for somebody's safe. */
function Issue(p: { close: () => void; made: (g: Issued) => void }) {
  const people = (useQuery(users).data ?? []).map((u) => u.name);
  const known = useQuery(objects).data ?? [];
  const names = (kind: string, text = "") => known.filter((o) => o.kind === kind && o.yaml.includes(text)).map((o) => o.name);
  const [user, setUser] = useState("");
  const [resources, setResources] = useState<string[]>([]);
  const [access, setAccess] = useState("");
  const [span, setSpan] = useState("");
  const [ttl, setTTL] = useState("2160h");
  const [reason, setReason] = useState("");
  const [ticket, setTicket] = useState("");
  const issue = useChange((v: Schemas["NewOfflineGrant"]) => data(api.POST("/offline-grants", { body: v })), "requests");
  const send = (e: React.FormEvent) => {
    e.preventDefault();
    issue.mutate(
      {
        user, reason, ttl, resources: resources.map((resource) => ({ resource, ...(access ? { access } : {}) })),
        ...(span ? { for: span } : {}), ...(ticket ? { ticket } : {}),
      },
      { onSuccess: p.made },
    );
  };
  return (
    <Modal opened onClose={p.close} title="Issue emergency access">
      <Stack gap="sm" component="form" onSubmit={send}>
        <Autocomplete label="Person" description="Whose safe the code is for." required data={people} value={user} onChange={setUser} data-autofocus />
        <MultiSelect label="Opens" required searchable data={names("Resource")} value={resources} onChange={setResources} />
        <Select label="By the access" placeholder="the emergency access that there is" clearable data={names("Access", "\nbreak_glass:")} value={access || null} onChange={(v) => setAccess(v ?? "")} />
        <Group grow align="flex-start">
          <Select label="Lasts, once used" placeholder="as long as it may" clearable data={["30m", "1h", "2h", "4h"]} value={span || null} onChange={(v) => setSpan(v ?? "")} />
          <Select label="Can be used for" allowDeselect={false} data={[{ value: "720h", label: "30 days" }, { value: "2160h", label: "90 days" }, { value: "4320h", label: "180 days" }, { value: "8760h", label: "a year" }]} value={ttl} onChange={(v) => setTTL(v ?? "2160h")} />
        </Group>
        <Textarea label="Reason" description="Why it is issued; the audit log keeps it." required autosize minRows={2} maxLength={2000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
        <TextInput label="Ticket" description="Where that was decided, if it was." maxLength={200} value={ticket} onChange={(e) => setTicket(e.currentTarget.value)} />
        {issue.error && <Refused error={issue.error} />}
        <Group justify="flex-end"><Button type="submit" loading={issue.isPending} disabled={!user.trim() || resources.length === 0 || !reason.trim()}>Issue it</Button></Group>
      </Stack>
    </Modal>
  );
}

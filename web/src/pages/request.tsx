import { Button, Group, Select, SimpleGrid, Stack, TagsInput, Text, Textarea } from "@mantine/core";
import { IconCheck, IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { api, data } from "../api/client";
import { request, takeBack, useChange, type Request } from "../api/queries";
import { Fact, Facts } from "../parts/facts";
import { lasts, Left, Line, State, visible, When, Who } from "../parts/format";
import { Loaded, Page, Refused, Section } from "../parts/page";
import { useRoles } from "../shell";

/** RequestPage is one request for access, and the grant that came of it. */
export function RequestPage() {
  const { id } = useParams({ from: "/requests/$id" });
  const query = useQuery(request(id));
  return (
    <Page title="Request for access" lead={<span className="mono">{id}</span>}>
      <Loaded query={query}>{(r) => <One request={r} />}</Loaded>
    </Page>
  );
}

function One({ request: r }: { request: Request }) {
  const { who } = useRoles();
  const own = who?.name === r.identity && who.kind === r.kind;
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
      <Stack gap="md">
        <Section title="What is asked for">
          <Facts>
            <Fact name="State">{r.state === "pending" ? <Left until={r.expires_at} /> : <State of={r.state} />}</Fact>
            <Fact name="Asked by"><Who name={r.identity} kind={r.kind} actor={r.actor} /></Fact>
            <Fact name="Resource">{r.resource}</Fact>
            <Fact name="Access">{r.access}</Fact>
            <Fact name="For">{lasts(r.for)}</Fact>
            <Fact name="What">{(r.verbs ?? []).length ? r.verbs!.join(", ") : `all that ${r.access} allows`}</Fact>
            <Fact name="Reason">{visible(r.reason)}</Fact>
            {r.ticket && <Fact name="Ticket">{r.ticket}</Fact>}
            {r.offline && <Fact name="Offline grant">{r.offline}</Fact>}
            {r.break_glass && <Fact name="Emergency">yes; it is looked at afterwards by {(r.reviewers ?? []).join(", ")}</Fact>}
            <Fact name="Asked"><When t={r.created_at} /></Fact>
            <Fact name="Approvers">{(r.approvers ?? []).join(", ")}, {r.approvals} needed</Fact>
          </Facts>
        </Section>
        {(r.votes ?? []).length > 0 && (
          <Section title="Votes">
            <Facts>
              {r.votes!.map((v, i) => (
                <Fact key={i} name={v.by}><Group gap={6}><State of={v.approve ? "approved" : "denied"} /><When t={v.at} />{v.reason && <Text size="sm">{visible(v.reason)}</Text>}</Group></Fact>
              ))}
            </Facts>
          </Section>
        )}
      </Stack>
      <Stack gap="md">
        {r.state === "pending" && (own ? <Text size="sm" c="dimmed">You asked for this, so somebody else decides.</Text> : <Decide request={r} />)}
        {r.grant && (
          <Section title="What was granted">
            <Facts>
              <Fact name="Until"><When t={r.grant.until} /></Fact>
              <Fact name="What">{(r.grant.verbs ?? []).length ? r.grant.verbs!.join(", ") : `all that ${r.access} allows`}</Fact>
              {r.grant.revoked_by && <Fact name="Taken back">by {r.grant.revoked_by}</Fact>}
            </Facts>
            {own && r.state === "active" && <Line text={`postern connect ${r.resource}`} />}
          </Section>
        )}
        {(r.state === "active" || (r.state === "pending" && own)) && <TakeBack request={r} own={own} />}
      </Stack>
    </SimpleGrid>
  );
}

function TakeBack({ request: r, own }: { request: Request; own: boolean }) {
  const end = useChange(takeBack, "requests", "sessions", "objects");
  return (
    <Stack gap="xs">
      {end.error && <Refused error={end.error} />}
      <Group>
        <Button variant="light" color="red" loading={end.isPending} onClick={() => end.mutate(r.id)}>{own && r.state === "pending" ? "Withdraw it" : "Take it back now"}</Button>
      </Group>
    </Stack>
  );
}

function Decide({ request: r }: { request: Request }) {
  const [reason, setReason] = useState("");
  const [less, setLess] = useState("");
  const [verbs, setVerbs] = useState<string[]>([]);
  const field = useRef<HTMLTextAreaElement>(null);
  const approve = useChange(
    () => data(api.POST("/requests/{id}/approve", { params: { path: { id: r.id } }, body: { ...(reason ? { reason } : {}), ...(less ? { for: less } : {}), ...(verbs.length ? { verbs } : {}) } })),
    "requests", "reviews",
  );
  const deny = useChange(() => data(api.POST("/requests/{id}/deny", { params: { path: { id: r.id } }, body: { reason } })), "requests", "reviews");
  const error = approve.error ?? deny.error;
  return (
    <Stack className="card" p="sm" gap="sm">
      <Group grow align="flex-start">
        <Select label="For" description={`Asked: ${lasts(r.for)}`} placeholder="as asked" clearable data={["15m", "30m", "1h", "2h", "4h", "8h"]} value={less || null} onChange={(v) => setLess(v ?? "")} />
        <TagsInput size="xs" label="Only these verbs" description="Empty: as asked" value={verbs} onChange={setVerbs} data={r.verbs ?? []} />
      </Group>
      <Textarea ref={field} label="Reason" description="Shown to whoever asked. A denial needs one." autosize minRows={2} maxLength={2000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
      {error && <Refused error={error} />}
      <Group grow>
        <Button size="sm" color="red" variant="light" leftSection={<IconX size={16} />} loading={deny.isPending} onClick={() => (reason.trim() ? deny.mutate(undefined) : field.current?.focus())}>Deny</Button>
        <Button size="sm" color="teal" leftSection={<IconCheck size={16} />} loading={approve.isPending} onClick={() => approve.mutate(undefined)}>{less || verbs.length ? "Approve less" : "Approve"}</Button>
      </Group>
    </Stack>
  );
}

import { Box, Button, Group, Stack, Table, Text, Textarea } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { IconCheck, IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { review, useChange, vote, type Review } from "../api/queries";
import { CommandText } from "../parts/command-text";
import { Fact, Facts } from "../parts/facts";
import { Left, State, visible, When, Who } from "../parts/format";
import { Loaded, Page, Refused, Section } from "../parts/page";
import { Understood } from "../parts/understood";
import { useRoles } from "../shell";

/** ReviewPage is one review, with all that an approver needs to decide it. */
export function ReviewPage() {
  const { id } = useParams({ from: "/reviews/$id" });
  const query = useQuery(review(id));
  return (
    <Page title="Review" lead={<span className="mono">{id}</span>}>
      <Loaded query={query}>{(r) => <One review={r} />}</Loaded>
    </Page>
  );
}

function One({ review: r }: { review: Review }) {
  const commands = r.commands ?? [];
  return (
    <Box className="review">
      <Section title={!r.evidence?.trial ? "Exactly this would run, once" : r.state === "pending" ? "Exactly this has run, and waits to be committed" : "Exactly this was run"}>
        <CommandText text={r.command} protocol={commands[0]?.protocol} />
      </Section>
      <Stack gap="md" className="review-more">
        {r.evidence?.trial && <Trial trial={r.evidence.trial} />}
        <Section title="What it was understood to do">
          <Stack className="card" p="sm" gap="md">
            {commands.map((c, i) => <Understood key={i} command={c} />)}
          </Stack>
        </Section>
        {r.evidence && <Evidence evidence={r.evidence} />}
      </Stack>
      <Stack gap="md" className="review-aside">
        {r.state === "pending" && <Decide review={r} />}
        <Section title="Who asks, and why it waits">
          <Facts>
            <Fact name="State">{r.state === "pending" ? <Left until={r.expires_at} /> : <State of={r.state} />}</Fact>
            <Fact name="Asked by"><Who name={r.identity} kind={r.kind} actor={r.actor} /></Fact>
            <Fact name="Resource">{r.resource}</Fact>
            <Fact name="Asked"><When t={r.created_at} /></Fact>
            <Fact name="Rule">{r.rule}</Fact>
            {r.message && <Fact name="Its message">{r.message}</Fact>}
            <Fact name="Approvers">{(r.approvers ?? []).join(", ")}, {r.approvals} needed</Fact>
            <Fact name="Session">
              <Link to="/sessions/$id" params={{ id: r.session }} search={{ n: r.n }} className="mono">{r.session}</Link>
            </Fact>
            <Fact name="Digest"><span className="mono wrap">{r.digest}</span></Fact>
          </Facts>
        </Section>
        <Votes review={r} />
      </Stack>
    </Box>
  );
}

/** Evidence is what the gateway found out about the command beforehand, without running it. */
function Evidence({ evidence: e }: { evidence: NonNullable<Review["evidence"]> }) {
  const plan = e.plan ?? [];
  return (
    <>
      {(e.rows !== undefined || (e.effects ?? []).length > 0 || plan.length > 0 || (e.missing ?? []).length > 0) && (
        <Section title={e.trial ? "What was estimated before" : "What it would do now"}>
          <Stack className="card" p="sm" gap="xs">
            {e.rows !== undefined && <Text size="sm"><b>{e.rows.toLocaleString()}</b> {e.rows === 1 ? "row" : "rows"}, counted when it was asked</Text>}
            {(e.effects ?? []).map((effect) => <Text key={effect} size="sm" className="wrap">{visible(effect)}</Text>)}
            {plan.map((p, i) => (
              <Text key={i} className="mono wrap" pl={p.depth * 14}>{p.does}{p.on ? ` on ${p.on}` : ""} <Text span c="dimmed" size="xs">about {Math.round(p.rows).toLocaleString()} rows</Text></Text>
            ))}
            {(e.missing ?? []).map((why) => <Text key={why} size="xs" c="dimmed" className="wrap">{why}</Text>)}
          </Stack>
        </Section>
      )}
      {(e.recent ?? []).length > 0 && (
        <Section title="What they did before, in this session">
          <Stack className="card" p="sm" gap={4}>
            {e.recent!.map((c) => <Group key={c.n} gap={8} wrap="nowrap"><State of={c.decision} /><Text className="mono one-line">{visible(c.text, true)}</Text></Group>)}
          </Stack>
        </Section>
      )}
    </>
  );
}

/** Trial is what the command did: it has run, and is not committed. */
function Trial({ trial: t }: { trial: NonNullable<NonNullable<Review["evidence"]>["trial"]> }) {
  const changes = t.changes ?? [];
  const parts = (c: (typeof changes)[number]) =>
    ([["inserted", c.inserted], ["updated", c.updated], ["deleted", c.deleted]] as const).filter(([, n]) => n).map(([what, n]) => `${n!.toLocaleString()} ${what}`).join(", ");
  return (
    <Section title="What it did">
      <Stack className="card" p="sm" gap="xs">
        <Text size="sm">
          <b>{t.rows.toLocaleString()}</b> {t.rows === 1 ? "row" : "rows"} <Text span className="mono" c="dimmed">{visible(t.tag)}</Text>
        </Text>
        {changes.map((c) => <Text key={c.table} size="sm" className="wrap"><span className="mono">{visible(c.table)}</span>: {parts(c)}</Text>)}
        <Text size="xs" c="dimmed">
          {t.within ? "Approved, it is part of a transaction that its client commits or not; denied, it is undone." : "Approved, it is committed as it is; denied, or not decided in time, it is undone."}
        </Text>
        {t.sample && <Sample sample={t.sample} />}
      </Stack>
    </Section>
  );
}

/** Sample is some of the rows that it changed, before and after, masked. */
function Sample({ sample: s }: { sample: NonNullable<NonNullable<NonNullable<Review["evidence"]>["trial"]>["sample"]> }) {
  const columns = s.columns ?? [];
  const cell = (value: string | null | undefined, changed: boolean, i: number) => (
    <Table.Td key={i} className={changed ? "changed" : undefined}>{value == null ? <Text span c="dimmed" size="xs">NULL</Text> : visible(value)}</Table.Td>
  );
  return (
    <Box className="grid-scroll" tabIndex={0} role="region" aria-label={`Rows of ${s.table}, before and after`}>
      <Table className="mono" withColumnBorders verticalSpacing={3} horizontalSpacing={8} w="auto">
        <Table.Thead><Table.Tr><Table.Th>{visible(s.table)}</Table.Th>{columns.map((c, i) => <Table.Th key={i}>{visible(c)}</Table.Th>)}</Table.Tr></Table.Thead>
        <Table.Tbody>
          {(s.rows ?? []).flatMap((row, n) => [
            row.before && <Table.Tr key={`${n}b`}><Table.Td>before</Table.Td>{row.before.map((v, i) => cell(v, (row.changed ?? []).includes(i), i))}</Table.Tr>,
            row.after && <Table.Tr key={`${n}a`}><Table.Td>after</Table.Td>{row.after.map((v, i) => cell(v, (row.changed ?? []).includes(i), i))}</Table.Tr>,
          ])}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

function Votes({ review: r }: { review: Review }) {
  const votes = r.votes ?? [];
  if (votes.length === 0) return null;
  return (
    <Section title="Votes">
      <Facts>
        {votes.map((v, i) => (
          <Fact key={i} name={v.by}>
            <Group gap={6}><State of={v.approve ? "approved" : "denied"} /><When t={v.at} />{v.reason && <Text size="sm">{visible(v.reason)}</Text>}</Group>
          </Fact>
        ))}
      </Facts>
    </Section>
  );
}

function Decide({ review: r }: { review: Review }) {
  const { who } = useRoles();
  const [reason, setReason] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const approve = useChange(vote(true), "reviews");
  const deny = useChange(vote(false), "reviews");
  const own = who?.name === r.identity && who.kind === r.kind;
  const busy = approve.isPending || deny.isPending;
  const denyNow = () => (reason.trim() ? deny.mutate({ id: r.id, reason }) : field.current?.focus());
  useHotkeys(own || busy ? [] : [["mod+Enter", () => approve.mutate({ id: r.id, reason })], ["d", denyNow], ["r", () => field.current?.focus()]]);
  if (own) {
    return <Text size="sm" c="dimmed">You asked for this, so somebody else decides. Your client waits.</Text>;
  }
  const error = approve.error ?? deny.error;
  return (
    <Stack className="card" p="sm" gap="sm">
      <Textarea
        ref={field} label="Reason" description="Shown to whoever waits, and kept in the audit log. A denial needs one."
        autosize minRows={2} maxLength={2000} value={reason} onChange={(e) => setReason(e.currentTarget.value)}
      />
      {error && <Refused error={error} />}
      <Group grow>
        <Button size="sm" color="red" variant="light" leftSection={<IconX size={16} />} loading={deny.isPending} disabled={busy} onClick={denyNow}>Deny</Button>
        <Button size="sm" color="teal" leftSection={<IconCheck size={16} />} loading={approve.isPending} disabled={busy} onClick={() => approve.mutate({ id: r.id, reason })}>
          Approve once
        </Button>
      </Group>
      <Text size="xs" c="dimmed" className="wide-only"><kbd>Ctrl</kbd> <kbd>Enter</kbd> approves, <kbd>r</kbd> writes a reason, <kbd>d</kbd> denies.</Text>
    </Stack>
  );
}

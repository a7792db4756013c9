import { Alert, Box, SegmentedControl, Table, Text } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { notifications, requests, reviews, type Request, type Review } from "../api/queries";
import { lasts, Left, State, visible, When, Who } from "../parts/format";
import { Loaded, Nothing, Page, Section } from "../parts/page";
import { useRoles } from "../shell";
import { OfflineGrants } from "./offline";

/** ReviewsPage is what waits for people, and what they have decided. */
export function ReviewsPage() {
  const [show, setShow] = useState<"pending" | "all">("pending");
  const query = useQuery(reviews(show === "pending" ? "pending" : undefined));
  const { auditor } = useRoles();
  const asked = useQuery(requests(show === "pending" ? "pending" : undefined));
  return (
    <Page
      title="Reviews"
      lead="Commands and requests that wait for people. Whoever asked doesn't decide."
      actions={
        <SegmentedControl
          aria-label="Which reviews" value={show} onChange={(v) => setShow(v as "pending" | "all")}
          data={[{ value: "pending", label: "Waiting" }, { value: "all", label: "All" }]}
        />
      }
    >
      <Section title="Commands">
        <Loaded query={query}>
          {(all) => {
            const commands = all.filter((r) => !r.request);
            return commands.length === 0 ? <Nothing>{show === "pending" ? "No command waits." : "No command ever waited."}</Nothing> : <Queue reviews={commands} />;
          }}
        </Loaded>
      </Section>
      <Section title="Access">
        <Loaded query={asked}>
          {(all) => (all.length === 0 ? <Nothing>{show === "pending" ? "No request waits." : "Nobody ever asked."}</Nothing> : <Requests requests={all} />)}
        </Loaded>
      </Section>
      <OfflineGrants />
      {auditor && <Undelivered />}
    </Page>
  );
}

/** Undelivered says whom word of a review didn't reach. */
function Undelivered() {
  const dead = (useQuery(notifications).data ?? []).filter((n) => n.state === "dead");
  if (dead.length === 0) return null;
  return (
    <Alert color="orange" title="Word of these didn't reach people">
      {dead.slice(0, 10).map((n) => <Text key={n.id} size="sm" className="wrap">{n.channel}, about {n.review}: {n.problem}</Text>)}
    </Alert>
  );
}

function Queue({ reviews: all }: { reviews: Review[] }) {
  const [at, setAt] = useState(0);
  const navigate = useNavigate();
  const go = (by: number) => setAt((i) => Math.min(all.length - 1, Math.max(0, i + by)));
  useHotkeys([
    ["j", () => go(1)],
    ["k", () => go(-1)],
    ["Enter", () => { const r = all[at]; if (r) void navigate({ to: "/reviews/$id", params: { id: r.id } }); }],
  ]);
  return (
    <>
      <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
        <Table>
          <Table.Thead>
            <Table.Tr><Table.Th>State</Table.Th><Table.Th>Command</Table.Th><Table.Th>Asked by</Table.Th><Table.Th>Resource</Table.Th><Table.Th className="wide-only">Asked</Table.Th></Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {all.map((r, i) => (
              <Table.Tr key={r.id} data-selected={i === at || undefined} bg={i === at ? "var(--mantine-color-default-hover)" : undefined}>
                <Table.Td>{r.state === "pending" ? <Left until={r.expires_at} /> : <State of={r.state} />}</Table.Td>
                <Table.Td>
                  <Link to="/reviews/$id" params={{ id: r.id }} className="plain">
                    <Text className="mono one-line">{visible(r.command, true)}</Text>
                  </Link>
                </Table.Td>
                <Table.Td><Who name={r.identity} kind={r.kind} actor={r.actor} /></Table.Td>
                <Table.Td style={{ whiteSpace: "nowrap" }}>{r.resource}</Table.Td>
                <Table.Td className="wide-only"><When t={r.created_at} /></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Box>
      <Text size="xs" c="dimmed" className="wide-only"><kbd>j</kbd> and <kbd>k</kbd> move, <kbd>Enter</kbd> opens.</Text>
    </>
  );
}

/** Requests lists requests for access. */
export function Requests(p: { requests: Request[] }) {
  return (
    <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
      <Table>
        <Table.Thead>
          <Table.Tr><Table.Th>State</Table.Th><Table.Th>Asked by</Table.Th><Table.Th>Resource</Table.Th><Table.Th>For</Table.Th><Table.Th>Reason</Table.Th><Table.Th className="wide-only">Asked</Table.Th></Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {p.requests.map((r) => (
            <Table.Tr key={r.id}>
              <Table.Td>{r.state === "pending" ? <Left until={r.expires_at} /> : <State of={r.state} />}</Table.Td>
              <Table.Td><Link to="/requests/$id" params={{ id: r.id }} className="plain"><Who name={r.identity} kind={r.kind} actor={r.actor} /></Link></Table.Td>
              <Table.Td style={{ whiteSpace: "nowrap" }}>{r.resource}</Table.Td>
              <Table.Td>{lasts(r.for)}</Table.Td>
              <Table.Td><Text size="sm" className="one-line">{visible(r.reason)}</Text></Table.Td>
              <Table.Td className="wide-only"><When t={r.created_at} /></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Box>
  );
}

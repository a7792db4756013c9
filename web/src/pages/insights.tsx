import { BarChart } from "@mantine/charts";
import "@mantine/charts/styles.css";
import { Box, Group, SegmentedControl, SimpleGrid, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { insights, unused, type Span } from "../api/queries";
import { span, State, When } from "../parts/format";
import { Loaded, Nothing, Page, Section } from "../parts/page";

/** InsightsPage is what happened over time. */
export function InsightsPage() {
  const [over, setOver] = useState<Span>("7d");
  const query = useQuery(insights(over));
  return (
    <Page
      title="Insights" lead="Sessions, denials and reviews over time."
      actions={<SegmentedControl aria-label="How far back" value={over} onChange={(v) => setOver(v as Span)} data={[{ value: "24h", label: "24 hours" }, { value: "7d", label: "7 days" }, { value: "30d", label: "30 days" }]} />}
    >
      <Loaded query={query}>
        {(i) => {
          const slots = (i.slots ?? []).map((s) => ({ ...s, at: label(s.at, over) }));
          const total = (key: "sessions" | "commands" | "denied" | "masked") => (i.slots ?? []).reduce((n, s) => n + s[key], 0);
          return (
            <>
              <SimpleGrid cols={{ base: 2, sm: 4 }}>
                <Figure name="Sessions" value={total("sessions")} />
                <Figure name="Commands" value={total("commands")} />
                <Figure name="Denied" value={total("denied")} />
                <Figure name="Values masked" value={total("masked")} />
              </SimpleGrid>
              <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
                <Section title="Sessions"><Bars data={slots} series={[{ name: "sessions", color: "harbour.5", label: "Sessions" }]} /></Section>
                <Section title="Commands denied"><Bars data={slots} series={[{ name: "denied", color: "red.6", label: "Denied" }]} /></Section>
                <Section title="Busiest resources">
                  {(i.resources ?? []).length === 0 ? <Nothing>Nothing was used.</Nothing> : (
                    <Box className="card">
                      <Table>
                        <Table.Thead><Table.Tr><Table.Th>Resource</Table.Th><Table.Th className="num">Sessions</Table.Th><Table.Th className="num">Commands</Table.Th><Table.Th className="num">Denied</Table.Th></Table.Tr></Table.Thead>
                        <Table.Tbody>
                          {i.resources!.map((r) => (
                            <Table.Tr key={r.name}><Table.Td>{r.name}</Table.Td><Table.Td className="num">{r.sessions}</Table.Td><Table.Td className="num">{r.commands}</Table.Td><Table.Td className="num">{r.denied}</Table.Td></Table.Tr>
                          ))}
                        </Table.Tbody>
                      </Table>
                    </Box>
                  )}
                </Section>
                <Section title="Reviews">
                  <Box className="card" p="sm">
                    <Group gap="lg" mb="xs">
                      <Box><Text size="xs" c="dimmed">Half were decided within</Text><Text size="lg">{span(i.reviews.median * 1000)}</Text></Box>
                      <Box><Text size="xs" c="dimmed">Nine in ten within</Text><Text size="lg">{span(i.reviews.p90 * 1000)}</Text></Box>
                    </Group>
                    <Group gap="md">
                      {Object.entries(i.reviews.states).map(([state, n]) => <Group key={state} gap={6}><State of={state} /><Text size="sm" className="num">{n}</Text></Group>)}
                      {Object.keys(i.reviews.states).length === 0 && <Text size="sm" c="dimmed">Nothing was asked.</Text>}
                    </Group>
                  </Box>
                </Section>
              </SimpleGrid>
              <Unused />
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

function Unused() {
  const query = useQuery(unused);
  return (
    <Section title="Standing rights that nobody uses">
      <Loaded query={query}>
        {(all) => all.length === 0 ? <Nothing>Every standing right was used.</Nothing> : (
          <Box className="card" tabIndex={0} style={{ overflowX: "auto" }}>
            <Table>
              <Table.Thead><Table.Tr><Table.Th>Access</Table.Th><Table.Th>Resource</Table.Th><Table.Th>For</Table.Th><Table.Th>Last used</Table.Th></Table.Tr></Table.Thead>
              <Table.Tbody>
                {all.map((u) => (
                  <Table.Tr key={`${u.access} ${u.resource}`}><Table.Td>{u.access}</Table.Td><Table.Td>{u.resource}</Table.Td><Table.Td>{(u.to ?? []).join(", ")}</Table.Td><Table.Td><When t={u.last_used} /></Table.Td></Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Box>
        )}
      </Loaded>
    </Section>
  );
}

function label(at: string, over: Span): string {
  const t = new Date(at);
  return over === "24h"
    ? t.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })
    : t.toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

function Figure(p: { name: string; value: number }) {
  return (
    <Box className="card" p="sm">
      <Text size="xs" c="dimmed">{p.name}</Text>
      <Text fz={22} fw={600} style={{ fontVariantNumeric: "tabular-nums" }}>{p.value.toLocaleString()}</Text>
    </Box>
  );
}

function Bars(p: { data: Record<string, unknown>[]; series: { name: string; color: string; label: string }[] }) {
  return (
    <Box className="card" p="sm">
      <BarChart h={200} data={p.data} dataKey="at" series={p.series} tickLine="none" gridAxis="x" barProps={{ isAnimationActive: false, radius: 2 }} xAxisProps={{ minTickGap: 40 }} yAxisProps={{ width: 36, allowDecimals: false }} />
    </Box>
  );
}

import { Badge, Box, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { trust, type IssuerHealth, type TrustedProvider, type TrustedWorkload } from "../api/queries";
import { lasts, When } from "../parts/format";
import { Loaded, Nothing, Section } from "../parts/page";

/** Trust is whose word counts about who somebody is, and whether they answer. */
export function Trust() {
  const query = useQuery(trust);
  return (
    <>
      <Section title="Where people sign in">
        <Loaded query={query}>
          {(t) => (t.providers ?? []).length === 0
            ? <Nothing>Nowhere. Providers stand in the configuration, under identity.oidc.</Nothing>
            : <Stack className="card rows" gap={0}>{t.providers!.map((p) => <Provider key={p.name} of={p} />)}</Stack>}
        </Loaded>
      </Section>
      <Section title="Programs that get in with a token of their own">
        <Loaded query={query}>
          {(t) => (t.workloads ?? []).length === 0
            ? <Nothing>None: no other issuer's tokens are trusted. Rules stand in the configuration, under identity.workloads.</Nothing>
            : (
              <>
                <Stack className="card rows" gap={0}>{t.workloads!.map((w) => <Workload key={w.name} of={w} />)}</Stack>
                <Text size="xs" c="dimmed">Of several rules for one issuer, the first that a token meets counts. They are changed where they stand, and read at start.</Text>
              </>
            )}
        </Loaded>
      </Section>
    </>
  );
}

function Provider({ of: p }: { of: TrustedProvider }) {
  return (
    <One name={p.title} aside={p.name === p.title ? undefined : p.name} health={[p.discovery, p.keys]} keptIn={p.kept_in || "built in"}>
      <Term name="Issuer"><span className="mono">{p.issuer}</span></Term>
      <Term name="Named by"><span className="mono">{p.name_claim}</span></Term>
      <Term name="Groups from">
        {p.groups_claim ? <span className="mono">{p.groups_claim}</span> : <Text span size="sm" c="dimmed">{p.kept_in ? "no claim: the provider gives nobody a group" : "identity.local in the configuration"}</Text>}
      </Term>
      <Answered name="Describes itself" of={p.discovery} />
      <Answered name="Its keys" of={p.keys} />
    </One>
  );
}

function Workload({ of: w }: { of: TrustedWorkload }) {
  return (
    <One name={w.name} health={[w.keys]} keptIn={w.kept_in}>
      <Term name="Issuer"><span className="mono">{w.issuer}</span></Term>
      <Term name="For"><span className="mono">{w.audience}</span></Term>
      <Term name="If"><span className="mono">{w.match}</span></Term>
      <Term name="Is called"><span className="mono">{w.identity}</span></Term>
      <Term name="In groups">{(w.groups ?? []).join(", ") || <Text span size="sm" c="dimmed">none</Text>}</Term>
      <Term name="Gets in for">{lasts(w.ttl)}{w.reuse ? "; a token counts again and again" : "; each token counts once"}</Term>
      {w.keys_at && <Term name="Keys at"><span className="mono">{w.keys_at}</span></Term>}
      <Answered name="Its keys" of={w.keys} />
    </One>
  );
}

/** One is somebody whose word counts: how they do at a glance, and all about them below. */
function One(p: { name: string; aside?: string; health: IssuerHealth[]; keptIn: string; children: ReactNode }) {
  return (
    <Box component="article" aria-label={p.name} px="sm" py={10}>
      <Group justify="space-between" gap={8} mb={6}>
        <Group gap={8}>
          <Text size="sm" fw={600}>{p.name}</Text>
          {p.aside && <Text size="xs" c="dimmed">{p.aside}</Text>}
          <Health of={p.health} />
        </Group>
        <Text size="xs" c="dimmed" className="wrap">{p.keptIn}</Text>
      </Group>
      <dl className="terms">{p.children}</dl>
    </Box>
  );
}

function Term(p: { name: string; children: ReactNode }) {
  return <div><dt>{p.name}</dt><dd>{p.children}</dd></div>;
}

/** Health is the worst of several answers, in a word. */
function Health(p: { of: IssuerHealth[] }) {
  if (p.of.some((h) => h.state === "fails")) return <Badge color="red">doesn't answer</Badge>;
  if (p.of.some((h) => h.state === "unasked")) return <Badge color="gray">not asked yet</Badge>;
  return <Badge color="teal">answers</Badge>;
}

function Answered({ name, of: h }: { name: string; of: IssuerHealth }) {
  return (
    <Term name={name}>
      {h.state === "answers" && <>read <When t={h.good_at} /></>}
      {h.state === "unasked" && <Text span size="sm" c="dimmed">not asked yet</Text>}
      {h.state === "fails" && (
        <>
          <Text span size="sm" c="red" className="wrap">{h.error}</Text>
          <Text size="xs" c="dimmed">asked <When t={h.asked_at} />; {h.good_at ? <>last read <When t={h.good_at} /></> : "never read since this gateway started"}</Text>
        </>
      )}
    </Term>
  );
}

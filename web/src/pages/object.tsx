import { yaml } from "@codemirror/lang-yaml";
import { Alert, Badge, Button, Group, Modal, Stack, Tabs, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { IconFile, IconTrash } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { api, data, Problem } from "../api/client";
import { object, objectKeys, useChange, type Document } from "../api/queries";
import { Diff } from "../parts/diff";
import type { Mistake } from "../parts/editor";
import { Loaded, Page, Refused, Section, Waiting } from "../parts/page";
import { useRoles } from "../shell";
import { completeKeys } from "./object-complete";
import { ObjectForm } from "./object-form";
import { templates } from "./object-templates";

const Editor = lazy(() => import("../parts/editor"));
const language = yaml();

/** ObjectPage shows one object, and lets an admin change one that the store keeps. */
export function ObjectPage() {
  const { kind, name } = useParams({ from: "/policy/$kind/$name" });
  const query = useQuery(object(kind, name));
  return (
    <Page title={name} lead={kind}>
      <Loaded query={query}>{(o) => <Edit key={o.yaml} document={o} />}</Loaded>
    </Page>
  );
}

/** NewObjectPage begins an object of a kind. */
export function NewObjectPage() {
  const { kind } = useParams({ from: "/policy/new/$kind" });
  return (
    <Page title={`New ${kind}`} lead="It is in force once you have put it there; nothing before that.">
      <Edit document={{ kind, name: "", source: "api", yaml: templates[kind] ?? `kind: ${kind}\nname: \n` }} fresh />
    </Page>
  );
}

const plan = (text: string) => data(api.POST("/objects/plan", { body: text as never, bodySerializer: (b) => b as unknown as string, headers: { "Content-Type": "application/yaml" } }));
const apply = (text: string) => data(api.POST("/objects/apply", { body: text as never, bodySerializer: (b) => b as unknown as string, headers: { "Content-Type": "application/yaml" } }));

function Edit({ document: o, fresh }: { document: Document; fresh?: boolean }) {
  const { admin } = useRoles();
  const [text, setText] = useState(o.yaml);
  const inFile = o.source !== "api";
  const locked = !admin || inFile;
  const changed = fresh || text !== o.yaml;
  const [settled] = useDebouncedValue(text, 350);
  const keys = useQuery(objectKeys).data;
  const complete = useMemo(() => completeKeys(keys ?? []), [keys]);
  const planned = useQuery({
    queryKey: ["plan", settled],
    queryFn: () => plan(settled),
    enabled: !locked && (fresh || settled !== o.yaml),
    retry: false,
    staleTime: 0,
  });
  const mistakes = useMemo(() => placed(planned.error), [planned.error]);
  return (
    <Stack gap="md">
      {inFile && (
        <Alert color="gray" icon={<IconFile size={16} />}>
          <Text size="sm">This object is kept in a file, and is changed there: <span className="mono wrap">{o.source}</span></Text>
        </Alert>
      )}
      <Tabs defaultValue="yaml" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="yaml">YAML</Tabs.Tab>
          <Tabs.Tab value="form">Form</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="yaml" pt="sm">
          <Suspense fallback={<Waiting />}>
            <Editor value={text} onChange={setText} language={language} label={`${o.kind} ${o.name || "new"}`} readOnly={locked} mistakes={mistakes} complete={complete} minHeight={260} />
          </Suspense>
        </Tabs.Panel>
        <Tabs.Panel value="form" pt="sm"><ObjectForm kind={o.kind} text={text} onChange={setText} readOnly={locked} /></Tabs.Panel>
      </Tabs>
      {!locked && changed && (
        <Section title="What would change" aside={<PutInForce text={text} disabled={planned.isFetching || !!planned.error || settled !== text} kind={o.kind} />}>
          {planned.error ? <Refused error={planned.error} /> : null}
          {planned.data && !planned.error && (
            (planned.data.changes ?? []).length === 0
              ? <Text size="sm" c="dimmed">Nothing: that is what is in force.</Text>
              : planned.data.changes!.map((c) => (
                  <Stack key={`${c.kind} ${c.name}`} gap={4}>
                    <Group gap={6}><Badge>{c.action}</Badge><Text size="sm">{c.kind} {c.name}</Text></Group>
                    <Diff text={c.diff} />
                  </Stack>
                ))
          )}
        </Section>
      )}
      {!locked && !fresh && <Remove document={o} />}
    </Stack>
  );
}

function PutInForce(p: { text: string; kind: string; disabled: boolean }) {
  const navigate = useNavigate();
  const put = useChange(apply, "objects", "accounts");
  return (
    <Button
      disabled={p.disabled} loading={put.isPending}
      onClick={() => put.mutate(p.text, {
        onSuccess: () => {
          notifications.show({ color: "teal", message: "In force." });
          void navigate({ to: "/policy" });
        },
        onError: (e) => notifications.show({ color: "red", message: e.message }),
      })}
    >
      Put in force
    </Button>
  );
}

function Remove({ document: o }: { document: Document }) {
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  const remove = useChange(
    () => data(api.DELETE("/objects/{kind}/{name}", { params: { path: { kind: o.kind, name: o.name } } })),
    "objects", "accounts", "sessions",
  );
  return (
    <>
      <Group><Button variant="subtle" color="red" leftSection={<IconTrash size={14} />} onClick={() => setAsking(true)}>Take out of force</Button></Group>
      <Modal opened={asking} onClose={() => setAsking(false)} title={`Take ${o.kind} ${o.name} out of force?`}>
        <Stack gap="sm">
          <Text size="sm">Sessions that depend on it end at once.</Text>
          {remove.error && <Refused error={remove.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setAsking(false)}>Keep it</Button>
            <Button color="red" loading={remove.isPending} onClick={() => remove.mutate(undefined, { onSuccess: () => void navigate({ to: "/policy" }) })}>Take it out</Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

/** The mistakes of a refusal, by their lines: "file:LINE: message". */
function placed(error: unknown): Mistake[] {
  if (!(error instanceof Problem)) return [];
  return error.details.flatMap((d) => {
    const found = /^[^:]*:(\d+): (.*)$/s.exec(d.message ?? "");
    return found ? [{ line: Number(found[1]), message: found[2]! }] : [];
  });
}

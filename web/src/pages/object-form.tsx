import { Alert, NumberInput, Select, SimpleGrid, Stack, Switch, TagsInput, Text, Textarea, TextInput, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { isCollection, parseDocument, type Document } from "yaml";
import { objectKeys } from "../api/queries";

type Field = {
  path: string;
  label: string;
  as: "text" | "area" | "list" | "pairs" | "lists" | "word" | "number" | "size" | "flag";
  hint?: string;
  most?: number; // of a number; absent: 20
  /** Fields of one heading stand together, below those that have none. */
  under?: string;
};

const on: Field[] = [
  { path: "on.names", label: "On resources", as: "list", hint: "Names; * stands for anything. Empty: every resource." },
  { path: "on.labels", label: "With labels", as: "pairs", hint: "key=value" },
];

const ssh = "On SSH resources, and only there";

const to: Field = { path: "to", label: "For", as: "list", hint: "user:NAME, group:NAME, service:NAME, workload:GLOB or everyone" };
const except: Field = { path: "except", label: "Except", as: "list", hint: "As above." };

/** The fields of each kind. What isn't here is edited as YAML, and stays as it is. */
const fields: Record<string, Field[]> = {
  Resource: [
    { path: "name", label: "Name", as: "text" },
    { path: "type", label: "Type", as: "word" },
    { path: "address", label: "Address", as: "text", hint: "host:port" },
    { path: "database", label: "Database", as: "text" },
    { path: "labels", label: "Labels", as: "pairs", hint: "key=value" },
    { path: "tls.mode", label: "TLS", as: "word" },
    { path: "credentials.username", label: "Signs in as", as: "text", hint: "The account of the resource that the gateway uses." },
  ],
  Access: [
    { path: "name", label: "Name", as: "text" },
    to,
    ...on,
    { path: "max_session", label: "Longest session", as: "text", hint: "Like 8h" },
    { path: "within.hours", label: "Within hours", as: "text", hint: "Mon-Fri 08:00-19:00 Europe/Berlin" },
    { path: "within.networks", label: "From networks", as: "list", hint: "Like 10.0.0.0/8" },
    { path: "ssh.logins", label: "Users of the server", as: "list", hint: "Empty: any that the resource offers.", under: ssh },
    { path: "ssh.groups", label: "Groups in the certificate", as: "list", hint: "Besides the user, for servers that go by them.", under: ssh },
    { path: "ssh.command", label: "Only this command", as: "text", hint: "Runs in place of whatever is asked for.", under: ssh },
    { path: "ssh.paths", label: "Only files below", as: "list", hint: "Folders or files, like /srv/www. Not with a command.", under: ssh },
    { path: "ssh.transfer.files", label: "Files an hour", as: "number", hint: "Empty: any number.", most: 2 ** 31 - 1, under: ssh },
    { path: "ssh.transfer.bytes", label: "Bytes an hour", as: "size", hint: "Like 512MiB. Empty: any number.", under: ssh },
  ],
  Rule: [
    { path: "name", label: "Name", as: "text" },
    ...on,
    { path: "use", label: "Shipped rule", as: "word", hint: "Or a condition of your own, not both." },
    { path: "when", label: "Condition (CEL)", as: "area" },
    { path: "then", label: "Then", as: "word" },
    { path: "message", label: "Message", as: "text", hint: "What the person is told: why, and what to do." },
    { path: "review.approvers", label: "Approvers", as: "list" },
    { path: "review.approvals", label: "Approvals", as: "number" },
    { path: "review.timeout", label: "Waits for", as: "text", hint: "Like 15m" },
    except,
  ],
  Mask: [
    { path: "name", label: "Name", as: "text" },
    ...on,
    { path: "columns", label: "Columns", as: "list", hint: "schema.table.column; * stands for any part" },
    { path: "detect", label: "Content", as: "list", hint: "Found in any text that leaves" },
    { path: "with", label: "Shown instead", as: "word" },
    to,
    except,
  ],
  Classification: [
    { path: "name", label: "Name", as: "text" },
    ...on,
    { path: "columns", label: "Columns", as: "lists", hint: "schema.table.column=label label" },
  ],
  Recordings: [
    { path: "name", label: "Name", as: "text" },
    ...on,
    { path: "of", label: "Of sessions of", as: "list", hint: "user:NAME, service:NAME or workload:GLOB. Empty: everybody's." },
    { path: "view", label: "Seen by", as: "list", hint: "user:NAME, group:NAME or service:NAME, besides whose session it was" },
    { path: "watch", label: "Watched by", as: "list", hint: "user:NAME, group:NAME or service:NAME, while the session is open; its client is told" },
    { path: "keep", label: "Kept for", as: "text", hint: "Like 365d; then they are destroyed. Empty: it doesn't say." },
    { path: "hold", label: "Held because", as: "text", hint: "None of them may be destroyed while this stands here." },
  ],
  ServiceAccount: [
    { path: "name", label: "Name", as: "text" },
    { path: "groups", label: "Groups", as: "list" },
    { path: "disabled", label: "Disabled", as: "flag" },
  ],
};

/** ObjectForm edits the same document as the YAML tab, comments and all. */
export function ObjectForm(p: { kind: string; text: string; onChange: (text: string) => void; readOnly?: boolean }) {
  const doc = useMemo(() => parseDocument(p.text), [p.text]);
  const keys = useQuery(objectKeys).data ?? [];
  const known = fields[p.kind];
  if (doc.errors.length || !known) {
    return (
      <Alert color="yellow">
        <Text size="sm">{known ? "The YAML can't be read; mend it in its own tab first." : "There is no form for this kind; edit its YAML."}</Text>
      </Alert>
    );
  }
  const set = (path: string, value: unknown) => {
    const next = doc.clone() as Document;
    const parts = path.split(".");
    const empty = value === "" || value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0) || (typeof value === "object" && Object.keys(value).length === 0);
    if (empty) {
      next.deleteIn(parts);
      for (let n = parts.length - 1; n > 0; n--) {
        const above = next.getIn(parts.slice(0, n));
        if (isCollection(above) && above.items.length === 0) next.deleteIn(parts.slice(0, n));
      }
    } else next.setIn(parts, next.createNode(value, { flow: typeof value === "object" }));
    p.onChange(next.toString({ lineWidth: 0, flowCollectionPadding: false }));
  };
  const plain = doc.toJS() as Record<string, unknown>;
  const words = (path: string) => {
    return keys.find((k) => k.kind === p.kind && k.path === path)?.words ?? [];
  };
  return (
    <Stack gap="sm" className="card" p="md">
      {[undefined, ...new Set(known.flatMap((f) => f.under ?? []))].map((under) => (
        <Stack key={under ?? ""} gap="sm" component="section" aria-label={under ?? p.kind}>
          {under && <Title order={3} mt={4}>{under}</Title>}
          <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="md" verticalSpacing="sm">
            {known.filter((f) => f.under === under).map((f) => (
              <OneField key={f.path} field={f} value={at(plain, f.path)} words={words(f.path)} readOnly={p.readOnly} set={(v) => set(f.path, v)} />
            ))}
          </SimpleGrid>
        </Stack>
      ))}
    </Stack>
  );
}

function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((v, key) => (v && typeof v === "object" ? (v as Record<string, unknown>)[key] : undefined), value);
}

function OneField(p: { field: Field; value: unknown; words: string[]; readOnly?: boolean; set: (value: unknown) => void }) {
  const f = p.field;
  const common = { label: f.label, description: f.hint, disabled: p.readOnly, size: "xs" as const };
  const text = p.value === undefined || p.value === null ? "" : String(p.value);
  switch (f.as) {
    case "word":
      return <Select {...common} data={[...new Set([...p.words, ...(text ? [text] : [])])]} value={text || null} onChange={(v) => p.set(v ?? "")} clearable searchable />;
    case "list":
      return <TagsInput {...common} data={p.words} value={Array.isArray(p.value) ? p.value.map(String) : []} onChange={p.set} />;
    case "pairs":
      return (
        <TagsInput
          {...common}
          value={Object.entries((p.value as Record<string, unknown>) ?? {}).map(([k, v]) => `${k}=${String(v)}`)}
          onChange={(pairs) => p.set(Object.fromEntries(pairs.filter((s) => s.includes("=")).map((s) => [s.slice(0, s.indexOf("=")), s.slice(s.indexOf("=") + 1)])))}
        />
      );
    case "lists":
      return (
        <TagsInput
          {...common}
          splitChars={[]}
          value={Object.entries((p.value as Record<string, unknown>) ?? {}).map(([k, v]) => `${k}=${Array.isArray(v) ? v.join(" ") : String(v)}`)}
          onChange={(pairs) => p.set(Object.fromEntries(pairs.filter((s) => s.includes("=")).map((s) => [s.slice(0, s.indexOf("=")), s.slice(s.indexOf("=") + 1).split(/[ ,]+/).filter(Boolean)])))}
        />
      );
    case "area":
      return <Textarea {...common} autosize minRows={2} value={text} onChange={(e) => p.set(e.currentTarget.value)} styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }} />;
    case "number":
      return <NumberInput {...common} min={1} max={f.most ?? 20} allowDecimal={false} value={text === "" ? "" : Number(text)} onChange={(v) => p.set(v === "" ? undefined : Number(v))} />;
    case "size":
      return <TextInput {...common} value={text} onChange={(e) => p.set(/^\d+$/.test(e.currentTarget.value) ? Number(e.currentTarget.value) : e.currentTarget.value)} />;
    case "flag":
      return <Switch {...common} checked={p.value === true} onChange={(e) => p.set(e.currentTarget.checked)} />;
    default:
      return <TextInput {...common} value={text} onChange={(e) => p.set(e.currentTarget.value)} />;
  }
}

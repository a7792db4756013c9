import { Badge, Group, Stack, Table, Text } from "@mantine/core";
import type { Schemas } from "../api/client";
import { visible } from "./format";

type Command = Schemas["Command"];
type Attr = Schemas["Attr"];

function value(a: Attr): string {
  if (a.strings) return a.strings.join(", ");
  if (a.string) return a.string;
  if (a.int !== undefined) return String(a.int);
  return a.bool ? "yes" : "no";
}

/** What the gateway understood a command to do. */
export function Understood(p: { command: Command }) {
  const c = p.command;
  const facts = (c.attrs ?? []).filter((a) => a.bool || a.int !== undefined || a.string || a.strings?.length);
  return (
    <Stack gap={8}>
      {c.problem && <Text size="sm" c="red">{visible(c.problem)}</Text>}
      <Group gap={6}>
        {(c.verbs ?? []).map((v) => <Badge key={v}>{v}</Badge>)}
        <Badge color={c.access === "read" ? "teal" : c.access === "write" ? "yellow" : "red"}>{c.access}</Badge>
      </Group>
      <Table withRowBorders={false} verticalSpacing={2} style={{ tableLayout: "fixed" }}>
        <Table.Tbody>
          {(c.objects ?? []).map((o, i) => (
            <Table.Tr key={i}>
              <Table.Td w={130} c="dimmed">{o.write ? "writes" : "reads"} {o.kind}</Table.Td>
              <Table.Td className="mono wrap">{visible(o.name, true)}</Table.Td>
            </Table.Tr>
          ))}
          {facts.map((a) => (
            <Table.Tr key={a.name}>
              <Table.Td w={130} c="dimmed">{a.name.replaceAll("_", " ")}</Table.Td>
              <Table.Td className="mono wrap">{visible(value(a), true)}</Table.Td>
            </Table.Tr>
          ))}
          {(c.params ?? []).map((param, i) => (
            <Table.Tr key={`$${i}`}>
              <Table.Td w={130} c="dimmed">${i + 1}</Table.Td>
              <Table.Td className="mono wrap">{visible(shown(param), true)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}

/** A parameter as an approver reads it: its text, or the bytes of a binary one. */
export function shown(p: Schemas["Param"]): string {
  if (p.null) return "NULL";
  const bytes = Uint8Array.from(atob(p.value), (c) => c.charCodeAt(0));
  if (!p.binary) {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      // Not text after all: the bytes are what was approved.
    }
  }
  return `0x${[...bytes].map((b) => b.toString(16).padStart(2, "0")).join("")}`;
}

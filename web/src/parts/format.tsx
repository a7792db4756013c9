import { ActionIcon, Badge, Group, Text, Tooltip } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useState } from "react";

/** The Go gateway's zero time means "never". */
export const never = (t?: string) => !t || t.startsWith("0001-");

const units: [number, string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "m"],
  [1, "s"],
];

/** 4_000 ms is "4s", 5_400_000 ms "1h 30m": two units at most. */
export function span(ms: number): string {
  let s = Math.max(0, Math.round(ms / 1000));
  const parts: string[] = [];
  for (const [size, name] of units) {
    if (s >= size && parts.length < 2) {
      parts.push(`${Math.floor(s / size)}${name}`);
      s %= size;
    }
  }
  return parts.join(" ") || "0s";
}

/** 1 is "1 value", 12_000 "12,000 values". */
export const counted = (n: number, noun: string) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

/** A clock that ticks, for times that are told from now. */
export function useNow(every = 1000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** When is a time as people say it, with the exact one on demand. */
export function When(p: { t?: string }) {
  const now = useNow(15_000);
  if (never(p.t)) return <Text span size="sm" c="dimmed">–</Text>;
  const at = new Date(p.t!);
  const ago = now - at.getTime();
  const text = Math.abs(ago) < 45_000 ? "just now" : ago > 0 ? `${span(ago)} ago` : `in ${span(-ago)}`;
  return (
    <Tooltip label={at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })}>
      <time dateTime={p.t} style={{ whiteSpace: "nowrap" }}>{text}</time>
    </Tooltip>
  );
}

/** Left counts down to a deadline. */
export function Left(p: { until: string }) {
  const now = useNow();
  const left = new Date(p.until).getTime() - now;
  if (left <= 0) return <Badge color="gray">time is up</Badge>;
  return (
    <Badge color={left < 120_000 ? "red" : left < 600_000 ? "yellow" : "gray"} className="num">
      {span(left)} left
    </Badge>
  );
}

const stateColors: Record<string, string> = {
  allow: "teal", approved: "teal", spent: "teal", ok: "teal", open: "teal", live: "teal",
  review: "yellow", pending: "yellow",
  deny: "red", denied: "red", refused: "red", failed: "red", disabled: "red", revoked: "red", timed_out: "orange", void: "orange",
};

/** State is one word of the gateway's, coloured by what it means. */
export function State(p: { of: string }) {
  return <Badge color={stateColors[p.of] ?? "gray"}>{p.of.replaceAll("_", " ")}</Badge>;
}

/** Who names an identity, and on whose behalf it acts. */
export function Who(p: { name: string; kind?: string; actor?: string }) {
  return (
    <Text span size="sm" style={{ whiteSpace: "nowrap" }}>
      {p.name}
      {p.kind && p.kind !== "user" && <Text span size="xs" c="dimmed"> {p.kind}</Text>}
      {p.actor && <Text span size="xs" c="dimmed"> through {p.actor}</Text>}
    </Text>
  );
}

export function Copy(p: { text: string; label: string }) {
  const clipboard = useClipboard({ timeout: 1200 });
  return (
    <Tooltip label={clipboard.copied ? "Copied" : p.label}>
      <ActionIcon size="sm" aria-label={p.label} onClick={() => clipboard.copy(p.text)} color={clipboard.copied ? "teal" : "gray"}>
        {clipboard.copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
      </ActionIcon>
    </Tooltip>
  );
}

/** A line for a terminal, with a button that copies it. */
export function Line(p: { text: string; label?: string }) {
  return (
    <Group gap={4} wrap="nowrap" className="card" px={8} py={3}>
      <Text className="mono" style={{ overflowX: "auto", whiteSpace: "nowrap", flex: 1 }} tabIndex={0}>
        {p.text}
      </Text>
      <Copy text={p.text} label={p.label ?? "Copy the line"} />
    </Group>
  );
}

import { ActionIcon, Badge, Group, Text, Tooltip } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useState } from "react";

/** The Go gateway's zero time means "never". */
export const never = (t?: string) => !t || t.startsWith("0001-");

/** What would steer a screen, or can't be seen on it: controls, and what changes the direction of a text. */
// eslint-disable-next-line no-control-regex
const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;
const joiners = /[\u200c\u200d]/g;

const sign = (c: string) => {
  const n = c.codePointAt(0)!;
  if (n < 0x20) return String.fromCodePoint(0x2400 + n);
  return n === 0x7f ? "\u2421" : `⟨U+${n.toString(16).toUpperCase().padStart(4, "0")}⟩`;
};

/** A text that strangers have a part in, with signs for what it would hide. Some scripts need joiners; an exact text shows them, too. */
export function visible(text: string, exact = false): string {
  const seen = text.replaceAll("\r\n", "\n").replace(unseen, sign);
  return exact ? seen.replace(joiners, sign) : seen;
}

const units: [number, string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "m"],
  [1, "s"],
];

/** 40 ms is "40ms", 4_000 ms "4s", 5_400_000 ms "1h 30m": two units at most. */
export function span(ms: number): string {
  if (ms > 0 && ms < 1000) return `${Math.ceil(ms)}ms`;
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

/** Go's "1h30m0s", as spans are told. */
export function lasts(text: string): string {
  const [, h, m, s] = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text) ?? [];
  const ms = (Number(h ?? 0) * 3600 + Number(m ?? 0) * 60 + Number(s ?? 0)) * 1000;
  return ms > 0 ? span(ms) : text;
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
  review: "yellow", pending: "yellow", held: "yellow",
  committed: "teal", released: "teal", rolled_back: "orange",
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

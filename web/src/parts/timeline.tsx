import { Box, Group, Text } from "@mantine/core";
import { useRef, useState, type KeyboardEvent } from "react";
import type { Event, Turn } from "../api/events";
import { counted, span } from "./format";

const slots = 64;

interface Slot { turns: Turn[]; denied: number; reviewed: number; volume: number }

/** How much came back: bytes, or characters of what was printed and of the rows that are kept. */
function volume(e: Event): number {
  if (e.kind === "output") return (e.text ?? "").length;
  if (e.kind !== "result") return 0;
  return Math.max(e.bytes ?? 0, (e.rows ?? []).reduce((sum, row) => sum + row.reduce((n, cell) => n + (cell?.length ?? 0), 0), 0));
}

function divide(turns: Turn[], started: number, ended: number): Slot[] {
  const all = Array.from({ length: slots }, (): Slot => ({ turns: [], denied: 0, reviewed: 0, volume: 0 }));
  const slot = (t: string) => all[Math.min(slots - 1, Math.max(0, Math.floor(((Date.parse(t) - started) / Math.max(ended - started, 1)) * slots)))]!;
  for (const turn of turns) {
    const mine = slot(turn.at);
    mine.turns.push(turn);
    if (turn.decision?.decision?.decision === "deny") mine.denied++;
    if (turn.rest.some((e) => e.kind === "review")) mine.reviewed++;
    for (const e of turn.rest) slot(e.t).volume += volume(e);
  }
  return all;
}

const said = (n: number, what: string) => (n ? `, ${n} ${what}` : "");

/**
 * Timeline is a session at a glance: how many commands came when, what was
 * denied and reviewed, and how much came back. Each stretch with commands is a
 * button that leads to its first; arrow keys move between them.
 */
export function Timeline(p: { turns: Turn[]; started: number; ended: number; jump: (n: number) => void }) {
  const all = divide(p.turns, p.started, p.ended);
  const most = Math.max(1, ...all.map((s) => s.turns.length));
  const widest = Math.max(1, ...all.map((s) => s.volume));
  const [at, setAt] = useState(0);
  const track = useRef<HTMLDivElement>(null);
  const filled = all.flatMap((s, i) => (s.turns.length ? [i] : []));
  const move = (e: KeyboardEvent) => {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: filled.length - 1 }[e.key];
    if (to === undefined || to < 0 || to >= filled.length) return;
    e.preventDefault();
    setAt(to);
    track.current?.querySelectorAll("button")[to]?.focus();
  };
  return (
    <Box className="card" p="sm">
      <div ref={track} className="track" role="toolbar" aria-label="Timeline" onKeyDown={move}>
        {all.map((s, i) => {
          const height = s.turns.length ? 6 + (22 * Math.log1p(s.turns.length)) / Math.log1p(most) : 2;
          const back = s.volume ? 2 + (12 * Math.log1p(s.volume)) / Math.log1p(widest) : 0;
          const look = s.denied ? "tick denied" : s.reviewed ? "tick reviewed" : "tick";
          const bars = <><span className={s.turns.length ? look : "tick none"} style={{ height }} /><span className="back" style={{ height: back }} /></>;
          if (!s.turns.length) return <span key={i} className="slot" aria-hidden="true">{bars}</span>;
          const n = filled.indexOf(i);
          const label = `${counted(s.turns.length, "command")} at +${span(Date.parse(s.turns[0]!.at) - p.started)}${said(s.denied, "denied")}${said(s.reviewed, "reviewed")}`;
          return (
            <button
              key={i} type="button" className="slot" title={label} aria-label={label} tabIndex={n === Math.min(at, filled.length - 1) ? 0 : -1}
              onFocus={() => setAt(n)} onClick={() => p.jump(s.turns[0]!.n)}
            >
              {bars}
            </button>
          );
        })}
      </div>
      <div className="scale">
        <Text size="xs" c="dimmed" className="num">+0s</Text>
        <Group gap="2px 12px" justify="center" className="keys" aria-hidden="true">
          <Key of="tick">commands</Key><Key of="tick reviewed">reviewed</Key><Key of="tick denied">denied</Key><Key of="back">came back</Key>
        </Group>
        <Text size="xs" c="dimmed" className="num">+{span(p.ended - p.started)}</Text>
      </div>
    </Box>
  );
}

function Key(p: { of: string; children: string }) {
  return <Group gap={5}><span className={`${p.of} key`} /><Text size="xs" c="dimmed">{p.children}</Text></Group>;
}

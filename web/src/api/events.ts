import { useEffect, useState } from "react";
import { lines, type Schemas } from "./client";

/** One event of a recording; docs/recording-format.md says what each kind holds. */
export interface Event {
  t: string;
  kind: string;
  n?: number;
  command?: Schemas["Command"];
  decision?: { decision: string; rule?: string; reason?: string };
  review?: string;
  state?: string;
  tag?: string;
  columns?: string[];
  rows?: (string | null)[][];
  row_count?: number;
  bytes?: number;
  masked?: number;
  code?: string;
  text?: string;
  stream?: string; // of output
}

/** Everything that a recording tells of one command. */
export interface Turn {
  n: number;
  at: string;
  command?: Event;
  decision?: Event; // its n is that of the first command that it is over
  rest: Event[]; // without commands and decisions
}

/**
 * A decision is over its command and those of the same message behind it: all that
 * were recorded before it, up to one that has a decision or a review of its own.
 */
function decided(turns: Map<number, Turn>, decision: Event) {
  const first = decision.n!;
  turns.get(first)!.decision = decision;
  for (let n = first + 1; ; n++) {
    const turn = turns.get(n);
    if (!turn || (turn.decision?.n ?? 0) > first || turn.rest.some((e) => e.kind === "review")) return;
    turn.decision = decision;
  }
}

export function turns(events: Event[]): { turns: Turn[]; others: Event[] } {
  const byNumber = new Map<number, Turn>();
  const others: Event[] = [];
  for (const e of events) {
    if (!e.n) {
      others.push(e);
      continue;
    }
    let turn = byNumber.get(e.n);
    if (!turn) byNumber.set(e.n, (turn = { n: e.n, at: e.t, rest: [] }));
    if (e.kind === "command") turn.command = e;
    else if (e.kind === "decision") decided(byNumber, e);
    else turn.rest.push(e);
  }
  return { turns: [...byNumber.values()].sort((a, b) => a.n - b.n), others };
}

/** The events of a recording, as they are read; while a session lives, as they happen. */
export function useEvents(session: string, follow: boolean) {
  const [events, setEvents] = useState<Event[]>([]);
  const [error, setError] = useState<unknown>();
  const [reading, setReading] = useState(true);
  useEffect(() => {
    const stop = new AbortController();
    let pending: Event[] = [];
    let frame = 0;
    const show = () => {
      frame = 0;
      const more = pending;
      pending = [];
      setEvents((all) => [...all, ...more]);
    };
    setEvents([]);
    setError(undefined);
    setReading(true);
    lines<Event>(`/sessions/${encodeURIComponent(session)}/events${follow ? "?follow=true" : ""}`, stop.signal, (e) => {
      pending.push(e);
      frame ||= requestAnimationFrame(show);
    })
      .catch((e: unknown) => { if (!stop.signal.aborted) setError(e); })
      .finally(() => { if (!stop.signal.aborted) setReading(false); });
    return () => {
      stop.abort();
      cancelAnimationFrame(frame);
    };
  }, [session, follow]);
  return { events, error, reading };
}

/** What was printed on terminals, as asciicast v2; undefined where nothing was. */
export function asciicast(events: Event[]): string | undefined {
  const first = events.find((e) => e.kind === "output" && e.stream === "terminal");
  if (!first) return undefined;
  const n = first.n;
  const mine = events.filter((e) => e.n === n);
  const size = /^(\d+)x(\d+)$/.exec(mine.find((e) => e.kind === "resize")?.text ?? "") ?? ["", "80", "24"];
  const began = Date.parse(mine[0]!.t);
  const lines: unknown[] = [{ version: 2, width: Number(size[1]), height: Number(size[2]), timestamp: Math.floor(began / 1000) }];
  for (const e of mine) {
    const at = (Date.parse(e.t) - began) / 1000;
    if (e.kind === "output") lines.push([at, "o", e.text ?? ""]);
    else if (e.kind === "resize" && lines.length > 1) lines.push([at, "r", e.text ?? ""]);
  }
  return lines.map((l) => JSON.stringify(l)).join("\n");
}

import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** A refusal of the API, in its own words (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly details: { location?: string; message?: string }[];

  constructor(status: number, body: Partial<Schemas["ErrorModel"]> | undefined) {
    super(body?.detail || body?.title || `The gateway answered ${status}.`);
    this.status = status;
    this.details = body?.errors ?? [];
  }
}

/**
 * What proves that a call comes from a page that belongs to the browser's login:
 * whoami says it, and only pages of the gateway can read that.
 */
let csrf = "";
export const proveWith = (value: string) => {
  csrf = value;
};

const proof: Middleware = {
  onRequest({ request }) {
    if (csrf && request.method !== "GET") request.headers.set("Postern-Csrf", csrf);
  },
};

const problems: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return;
    let body: Partial<Schemas["ErrorModel"]> | undefined;
    try {
      body = (await response.clone().json()) as Partial<Schemas["ErrorModel"]>;
    } catch {
      body = undefined;
    }
    throw new Problem(response.status, body);
  },
};

export const api = createClient<paths>({ baseUrl: "/api/v1" });
api.use(proof, problems);

/** The data of an answer; a refusal was thrown already. */
export async function data<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}

/** Reads JSON lines as they arrive. It ends with the stream, or with the signal. */
export async function lines<T>(path: string, signal: AbortSignal, each: (line: T) => void): Promise<void> {
  const response = await fetch(`/api/v1${path}`, { signal });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => undefined));
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += value;
    const parts = rest.split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part) each(JSON.parse(part) as T);
  }
  if (rest) each(JSON.parse(rest) as T);
}

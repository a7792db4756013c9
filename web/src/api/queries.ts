import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, data, proveWith, type Schemas } from "./client";

export type Session = Schemas["SessionInfo"];
export type Review = Schemas["Review"];
export type Resource = Schemas["Resource"];
export type Token = Schemas["Token"];
export type Refusal = Schemas["Refusal"];
export type Account = Schemas["Account"];
export type Document = Schemas["Document"];

/** What every query's key begins with: live updates name it. */
export const topics = ["sessions", "reviews", "requests", "objects", "tokens", "accounts", "audit"] as const;
export type Topic = (typeof topics)[number];

export const whoami = queryOptions({
  queryKey: ["whoami"],
  queryFn: async () => {
    const who = await data(api.GET("/whoami"));
    proveWith(who.csrf ?? "");
    return who;
  },
  staleTime: 60_000,
  retry: false,
});

export const status = queryOptions({
  queryKey: ["objects", "status"],
  queryFn: () => data(api.GET("/status")),
});

export const resources = queryOptions({
  queryKey: ["objects", "resources"],
  queryFn: async () => (await data(api.GET("/resources"))).items ?? [],
});

export const tokens = queryOptions({
  queryKey: ["tokens"],
  queryFn: async () => (await data(api.GET("/tokens"))).items ?? [],
});

export interface SessionFilter {
  identity?: string;
  resource?: string;
  live?: "true" | "false";
}

export const sessions = (filter: SessionFilter, limit = 100) =>
  queryOptions({
    queryKey: ["sessions", "list", filter, limit],
    queryFn: () => data(api.GET("/sessions", { params: { query: { ...filter, limit } } })),
  });

export const session = (id: string) =>
  queryOptions({
    queryKey: ["sessions", "one", id],
    queryFn: () => data(api.GET("/sessions/{id}", { params: { path: { id } } })),
  });

export const reviews = (state?: "pending") =>
  queryOptions({
    queryKey: ["reviews", "list", state ?? "all"],
    queryFn: async () => (await data(api.GET("/reviews", { params: { query: { state, limit: 200 } } }))).items ?? [],
  });

export const review = (id: string) =>
  queryOptions({
    queryKey: ["reviews", "one", id],
    queryFn: () => data(api.GET("/reviews/{id}", { params: { path: { id } } })),
  });

export const objects = queryOptions({
  queryKey: ["objects", "list"],
  queryFn: async () => (await data(api.GET("/objects"))).items ?? [],
});

export const object = (kind: string, name: string) =>
  queryOptions({
    queryKey: ["objects", "one", kind, name],
    queryFn: () => data(api.GET("/objects/{kind}/{name}", { params: { path: { kind, name } } })),
  });

export const serviceAccounts = queryOptions({
  queryKey: ["accounts", "service"],
  queryFn: async () => (await data(api.GET("/service-accounts"))).items ?? [],
});

export const users = queryOptions({
  queryKey: ["accounts", "user"],
  queryFn: async () => (await data(api.GET("/users"))).items ?? [],
});

export const auditReport = queryOptions({
  queryKey: ["audit", "report"],
  queryFn: () => data(api.POST("/audit/verify")),
  staleTime: 60_000,
});

/** A change, after which everything under the topics is read again. */
export function useChange<V, R>(change: (v: V) => Promise<R>, ...stale: Topic[]) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => Promise.all(stale.map((topic) => client.invalidateQueries({ queryKey: [topic] }))),
  });
}

export const vote = (approve: boolean) => (v: { id: string; reason: string }) => {
  const params = { params: { path: { id: v.id } }, body: v.reason ? { reason: v.reason } : {} };
  return data(approve ? api.POST("/reviews/{id}/approve", params) : api.POST("/reviews/{id}/deny", params));
};

export const kill = (v: { id: string; reason?: string }) =>
  data(api.POST("/sessions/{id}/kill", { params: { path: { id: v.id } }, body: v.reason ? { reason: v.reason } : {} }));

export const revoke = (id: string) => data(api.DELETE("/tokens/{id}", { params: { path: { id } } }));

export const mint = (v: { resource: string; ttl?: string; uses?: number }) => data(api.POST("/tokens", { body: v }));

export const objectKeys = queryOptions({
  queryKey: ["object-keys"],
  queryFn: async () => (await data(api.GET("/objects/keys"))).items ?? [],
  staleTime: Infinity,
});

export type Span = "24h" | "7d" | "30d";

export const insights = (span: Span) =>
  queryOptions({
    queryKey: ["sessions", "insights", span],
    queryFn: () => data(api.GET("/insights", { params: { query: { span } } })),
  });

export type Request = Schemas["Request"];

export const requests = (state?: Request["state"]) =>
  queryOptions({
    queryKey: ["requests", "list", state ?? "all"],
    queryFn: async () => (await data(api.GET("/requests", { params: { query: { state, limit: 200 } } }))).items ?? [],
  });

export const request = (id: string) =>
  queryOptions({
    queryKey: ["requests", "one", id],
    queryFn: () => data(api.GET("/requests/{id}", { params: { path: { id } } })),
  });

export const ask = (v: Schemas["NewRequest"]) => data(api.POST("/requests", { body: v }));

export const takeBack = (id: string) => data(api.POST("/requests/{id}/revoke", { params: { path: { id } }, body: {} }));

export const unused = queryOptions({
  queryKey: ["objects", "unused"],
  queryFn: async () => (await data(api.GET("/access/unused"))).items ?? [],
});

export const shadows = queryOptions({
  queryKey: ["objects", "shadows"],
  queryFn: async () => (await data(api.GET("/policy/shadow"))).items ?? [],
});

export const auditSearch = (text: string, limit = 200) =>
  queryOptions({
    queryKey: ["audit", "search", text, limit],
    queryFn: () => data(api.GET("/audit/search", { params: { query: { ...terms(text), limit } } })),
  });

const fields = ["identity", "actor", "resource", "session", "action", "outcome", "verb", "object", "rule", "target"] as const;

/** "identity:alice outcome:deny payments" asks for both fields and the word. */
export function terms(text: string): Partial<Record<(typeof fields)[number] | "text", string>> {
  const found: Partial<Record<(typeof fields)[number] | "text", string>> = {};
  const words: string[] = [];
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    const [name, ...rest] = word.split(":");
    const field = fields.find((f) => f === name);
    if (field && rest.length) found[field] = rest.join(":");
    else words.push(word);
  }
  if (words.length) found.text = words.join(" ");
  return found;
}

export type Found = Schemas["FoundCommand"];

/** Commands of all sessions that hold these words. */
export const commands = (filter: { text: string; identity?: string; resource?: string }) =>
  infiniteQueryOptions({
    queryKey: ["commands", filter],
    queryFn: ({ pageParam }) => data(api.GET("/commands", { params: { query: { ...filter, limit: 50, cursor: pageParam || undefined } } })),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    staleTime: 30_000, // each search is in the audit log
  });

export const delegations = queryOptions({
  queryKey: ["accounts", "delegations"],
  queryFn: async () => (await data(api.GET("/delegations"))).items ?? [],
});

export const scimTokens = queryOptions({
  queryKey: ["accounts", "scim"],
  queryFn: async () => (await data(api.GET("/scim-tokens"))).items ?? [],
});

export const offlineGrants = queryOptions({
  queryKey: ["requests", "offline"],
  queryFn: async () => (await data(api.GET("/offline-grants"))).items ?? [],
});

export type TrustedProvider = Schemas["TrustedProvider"];
export type TrustedWorkload = Schemas["TrustedWorkload"];
export type IssuerHealth = Schemas["IssuerHealth"];

/** Whose word counts; asking for it has the gateway ask them, at most once a minute. */
export const trust = queryOptions({
  queryKey: ["trust"],
  queryFn: () => data(api.GET("/trust")),
  staleTime: 60_000,
  refetchInterval: 60_000,
});

export const notifications = queryOptions({
  queryKey: ["reviews", "notifications"],
  queryFn: async () => (await data(api.GET("/notifications"))).items ?? [],
});

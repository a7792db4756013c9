import type { QueryClient } from "@tanstack/react-query";
import { createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { Problem } from "./api/client";
import { whoami } from "./api/queries";
import { Page, Refused } from "./parts/page";
import { HomePage, NewRequestPage } from "./pages/home";
import { Shell } from "./shell";

/** Wrong stands in for a page that broke; the others can still be gone to. */
function Wrong({ error }: { error: unknown }) {
  return (
    <Page title="Something went wrong">
      <Refused error={error} retry={() => location.reload()} />
    </Page>
  );
}

const root = createRootRouteWithContext<{ client: QueryClient }>()({
  // Whoever isn't signed in is asked to, and comes back to where they were going.
  beforeLoad: async ({ context, location }) => {
    try {
      await context.client.ensureQueryData(whoami);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        throw redirect({ href: `/auth/login?return=${encodeURIComponent(location.href)}`, reloadDocument: true });
      }
      throw error;
    }
  },
  component: Shell,
  errorComponent: Wrong,
  notFoundComponent: () => (
    <Page title="Nothing here">
      <Refused error={new Error("There is no page at this address.")} />
    </Page>
  ),
});

const home = createRoute({ getParentRoute: () => root, path: "/", component: HomePage });
const reviewList = createRoute({ getParentRoute: () => root, path: "/reviews", component: lazyRouteComponent(() => import("./pages/reviews"), "ReviewsPage") });
const reviewOne = createRoute({
  getParentRoute: () => root,
  path: "/reviews/$id",
  // A request for access is reviewed, too, and listed among reviews; its page shows what is asked for.
  beforeLoad: ({ params }) => {
    if (params.id.startsWith("rq_")) throw redirect({ to: "/requests/$id", params, replace: true });
  },
  component: lazyRouteComponent(() => import("./pages/review"), "ReviewPage"),
});
const requestNew = createRoute({
  getParentRoute: () => root,
  path: "/requests/new",
  validateSearch: (search: Record<string, unknown>): { resource: string; access?: string } => ({
    resource: String(search.resource ?? ""),
    ...(typeof search.access === "string" ? { access: search.access } : {}),
  }),
  component: NewRequestPage,
});
const requestOne = createRoute({ getParentRoute: () => root, path: "/requests/$id", component: lazyRouteComponent(() => import("./pages/request"), "RequestPage") });
const sessionList = createRoute({ getParentRoute: () => root, path: "/sessions", component: lazyRouteComponent(() => import("./pages/sessions"), "SessionsPage") });
const sessionOne = createRoute({
  getParentRoute: () => root,
  path: "/sessions/$id",
  validateSearch: (search: Record<string, unknown>): { n?: number } => (typeof search.n === "number" ? { n: search.n } : {}),
  component: lazyRouteComponent(() => import("./pages/session"), "SessionPage"),
});
const policyList = createRoute({ getParentRoute: () => root, path: "/policy", component: lazyRouteComponent(() => import("./pages/policy"), "PolicyPage") });
const policyCheck = createRoute({ getParentRoute: () => root, path: "/policy/check", component: lazyRouteComponent(() => import("./pages/check"), "CheckPage") });
const policyNew = createRoute({ getParentRoute: () => root, path: "/policy/new/$kind", component: lazyRouteComponent(() => import("./pages/object"), "NewObjectPage") });
const policyOne = createRoute({ getParentRoute: () => root, path: "/policy/$kind/$name", component: lazyRouteComponent(() => import("./pages/object"), "ObjectPage") });
const sqlPage = createRoute({ getParentRoute: () => root, path: "/sql/$resource", component: lazyRouteComponent(() => import("./pages/sql"), "SQLPage") });
const terminalPage = createRoute({ getParentRoute: () => root, path: "/terminal/$resource", component: lazyRouteComponent(() => import("./pages/terminal"), "TerminalPage") });
const audit = createRoute({ getParentRoute: () => root, path: "/audit", component: lazyRouteComponent(() => import("./pages/audit"), "AuditPage") });
const insights = createRoute({ getParentRoute: () => root, path: "/insights", component: lazyRouteComponent(() => import("./pages/insights"), "InsightsPage") });
const identity = createRoute({ getParentRoute: () => root, path: "/identity", component: lazyRouteComponent(() => import("./pages/identity"), "IdentityPage") });
const setup = createRoute({ getParentRoute: () => root, path: "/setup", component: lazyRouteComponent(() => import("./pages/setup"), "SetupPage") });

const tree = root.addChildren([
  home, reviewList, reviewOne, requestNew, requestOne, sessionList, sessionOne, policyList, policyCheck, policyNew, policyOne, sqlPage, terminalPage, audit, insights, identity, setup,
]);

export function makeRouter(client: QueryClient) {
  return createRouter({ routeTree: tree, context: { client }, defaultErrorComponent: Wrong, defaultPreload: "intent", scrollRestoration: true });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}

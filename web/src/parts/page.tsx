import { Alert, Box, Button, Group, Loader, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useEffect } from "react";
import { Problem } from "../api/client";

/** Page is a page's frame: its title, what can be done on it, and its content. */
export function Page(p: { title: string; lead?: ReactNode; actions?: ReactNode; children: ReactNode; wide?: boolean }) {
  useEffect(() => {
    document.title = `${p.title} · Postern`;
  }, [p.title]);
  return (
    <Stack gap={20} maw={p.wide ? undefined : 1180} mx="auto" w="100%">
      <Group justify="space-between" align="flex-start" gap="sm">
        <Box>
          <Title order={1}>{p.title}</Title>
          {p.lead && (
            <Text size="sm" c="dimmed" mt={2}>
              {p.lead}
            </Text>
          )}
        </Box>
        <Group gap="xs">{p.actions}</Group>
      </Group>
      {p.children}
    </Stack>
  );
}

/** Section is a part of a page under a heading of its own. */
export function Section(p: { title: string; aside?: ReactNode; children: ReactNode }) {
  return (
    <Stack gap={8} component="section" aria-label={p.title}>
      <Group justify="space-between" gap="xs">
        <Title order={2}>{p.title}</Title>
        {p.aside}
      </Group>
      {p.children}
    </Stack>
  );
}

/** Refused shows why something couldn't be had, in the gateway's own words. */
export function Refused(p: { error: unknown; retry?: () => void }) {
  const error = p.error;
  const text = error instanceof Error ? error.message : String(error);
  const details = error instanceof Problem ? error.details : [];
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle size={16} />} role="alert" p="sm">
      <Text size="sm" className="wrap">
        {text}
      </Text>
      {details.map((d, i) => (
        <Text key={i} size="xs" c="dimmed" className="wrap">
          {[d.location, d.message].filter(Boolean).join(": ")}
        </Text>
      ))}
      {p.retry && (
        <Button mt="xs" variant="default" onClick={p.retry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}

/** Nothing says that a list is empty, and what would fill it. */
export function Nothing(p: { children: ReactNode }) {
  return (
    <Box className="nothing" p="md" ta="center">
      <Text size="sm" c="dimmed">
        {p.children}
      </Text>
    </Box>
  );
}

export function Waiting() {
  return (
    <Group justify="center" p="xl">
      <Loader size="sm" role="status" aria-label="Loading" />
    </Group>
  );
}

interface Answer<T> {
  data: T | undefined;
  error: unknown;
  isPending: boolean;
  refetch: () => unknown;
}

/** Loaded shows what a query brought, or that it is under way, or why it failed. */
export function Loaded<T>(p: { query: Answer<T>; children: (data: T) => ReactNode }) {
  if (p.query.data !== undefined) return <>{p.children(p.query.data)}</>;
  if (p.query.isPending) return <Waiting />;
  return <Refused error={p.query.error} retry={() => void p.query.refetch()} />;
}

/**
 * Listed shows what came of a list so far. A list that can't be had isn't an empty
 * one: where there is an error, nothing is said to be none.
 */
export function Listed<T>(p: { items: T[]; error: unknown; isPending: boolean; nothing: ReactNode; children: (items: T[]) => ReactNode }) {
  const failed = p.error !== undefined && p.error !== null;
  return (
    <>
      {failed && <Refused error={p.error} />}
      {p.items.length > 0 ? p.children(p.items) : failed ? null : p.isPending ? <Waiting /> : <Nothing>{p.nothing}</Nothing>}
    </>
  );
}

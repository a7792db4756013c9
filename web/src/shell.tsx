import { ActionIcon, Anchor, AppShell, Badge, Box, Burger, Group, Menu, ScrollArea, Stack, Text, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconChartBar, IconCloudOff, IconDoorEnter, IconFileText, IconHome, IconLogout, IconMoon, IconPlayerPlay, IconShieldCheck, IconRubberStamp, IconSun, IconUsers,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { Suspense, useEffect, type ReactNode } from "react";
import { reviews, whoami } from "./api/queries";
import { useLive } from "./live";
import { Waiting } from "./parts/page";

interface Place {
  to: "/" | "/reviews" | "/sessions" | "/policy" | "/audit" | "/insights" | "/identity";
  label: string;
  icon: ReactNode;
  role?: "auditor" | "admin";
}

const places: Place[] = [
  { to: "/", label: "Home", icon: <IconHome size={16} /> },
  { to: "/reviews", label: "Reviews", icon: <IconRubberStamp size={16} /> },
  { to: "/sessions", label: "Sessions", icon: <IconPlayerPlay size={16} /> },
  { to: "/policy", label: "Policy", icon: <IconShieldCheck size={16} />, role: "auditor" },
  { to: "/audit", label: "Audit log", icon: <IconFileText size={16} />, role: "auditor" },
  { to: "/insights", label: "Insights", icon: <IconChartBar size={16} />, role: "auditor" },
  { to: "/identity", label: "Identity", icon: <IconUsers size={16} /> },
];

/** The roles of whoever is signed in; an admin is an auditor, too. */
export function useRoles() {
  const who = useQuery(whoami).data;
  const roles = who?.roles ?? [];
  const admin = roles.includes("admin");
  return { who, admin, auditor: admin || roles.includes("auditor") };
}

export function Shell() {
  const [open, menu] = useDisclosure(false);
  const path = useRouterState({ select: (s) => s.location.pathname });
  useEffect(() => menu.close(), [path]); // eslint-disable-line react-hooks/exhaustive-deps
  return (
    <AppShell header={{ height: 48, collapsed: false }} navbar={{ width: 212, breakpoint: "sm", collapsed: { mobile: !open } }} padding="md">
      <Anchor href="#content" className="skip" pos="absolute" top={-60} left={8} style={{ zIndex: 1000 }} styles={{ root: { "&:focus": { top: 8 } } }}>
        Skip to content
      </Anchor>
      <Header open={open} toggle={menu.toggle} />
      <Navigation />
      <AppShell.Main id="content" tabIndex={-1}>
        <Suspense fallback={<Waiting />}>
          <Outlet />
        </Suspense>
      </AppShell.Main>
    </AppShell>
  );
}

function Header(p: { open: boolean; toggle: () => void }) {
  const heard = useLive();
  return (
    <AppShell.Header px="md" withBorder>
      <Group h="100%" justify="space-between" wrap="nowrap">
        <Group gap="sm" wrap="nowrap">
          <Burger opened={p.open} onClick={p.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
          <Link to="/" className="plain">
            <Group gap={8} wrap="nowrap">
              <img src="/icon.svg" width={22} height={22} alt="" />
              <Text fw={650} size="md">Postern</Text>
            </Group>
          </Link>
        </Group>
        <Group gap={6} wrap="nowrap">
          {!heard && (
            <Tooltip label="The gateway isn't heard; what you see may be old. Trying again.">
              <Badge color="orange" leftSection={<IconCloudOff size={12} />}>offline</Badge>
            </Tooltip>
          )}
          <Colours />
          <Me />
        </Group>
      </Group>
    </AppShell.Header>
  );
}

function Colours() {
  const { setColorScheme } = useMantineColorScheme();
  const now = useComputedColorScheme("light");
  const other = now === "dark" ? "light" : "dark";
  return (
    <ActionIcon aria-label={`Use ${other} colours`} onClick={() => setColorScheme(other)}>
      {now === "dark" ? <IconSun size={16} /> : <IconMoon size={16} />}
    </ActionIcon>
  );
}

function Me() {
  const { who } = useRoles();
  if (!who) return null;
  const { roles, ...identity } = who;
  return (
    <Menu position="bottom-end" width={260}>
      <Menu.Target>
        <Badge component="button" variant="default" size="lg" style={{ cursor: "pointer" }} aria-label={`Signed in as ${identity.name}`}>
          {identity.name}
        </Badge>
      </Menu.Target>
      <Menu.Dropdown>
        <Box px="sm" py={6}>
          <Text size="sm" fw={500}>{identity.name}</Text>
          {identity.email && <Text size="xs" c="dimmed">{identity.email}</Text>}
          <Text size="xs" c="dimmed">
            {[...(roles ?? []), ...(identity.groups ?? [])].join(", ") || "no groups"}
          </Text>
        </Box>
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={14} />} component="a" href="/auth/logout">
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Navigation() {
  const { auditor, admin } = useRoles();
  const waiting = useQuery(reviews("pending")).data?.length ?? 0;
  return (
    <AppShell.Navbar p="xs" component="nav" aria-label="Pages">
      <ScrollArea>
        <Stack gap={2}>
          {places
            .filter((place) => !place.role || (place.role === "auditor" ? auditor : admin))
            .map((place) => (
              <Link key={place.to} to={place.to} className="nav" activeOptions={{ exact: place.to === "/" }}>
                {place.icon}
                <Box flex={1}>{place.label}</Box>
                {place.to === "/reviews" && waiting > 0 && (
                  <Badge size="xs" color="yellow" aria-label={`${waiting} waiting`}>{waiting}</Badge>
                )}
              </Link>
            ))}
          {admin && (
            <Link to="/setup" className="nav">
              <IconDoorEnter size={16} />
              <Box flex={1}>Set up</Box>
            </Link>
          )}
        </Stack>
      </ScrollArea>
    </AppShell.Navbar>
  );
}

import { Button, Code, Group, Stack, Stepper, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { objects, sessions } from "../api/queries";
import { Line } from "../parts/format";
import { Loaded, Page } from "../parts/page";

/** SetupPage leads from an empty gateway to the first masked query. */
export function SetupPage() {
  const query = useQuery(objects);
  const used = (useQuery(sessions({}, 1)).data?.items ?? []).length > 0;
  return (
    <Page title="Set up" lead="From an empty gateway to the first masked query.">
      <Loaded query={query}>
        {(all) => {
          const has = (kind: string) => all.some((o) => o.kind === kind);
          const first = all.find((o) => o.kind === "Resource")?.name ?? "RESOURCE";
          const done = [has("Resource"), has("Access"), has("Mask"), has("Rule"), used];
          const active = done.findIndex((d) => !d);
          return (
            <Stepper active={active < 0 ? done.length : active} orientation="vertical" size="sm" allowNextStepsSelect={false}>
              <Stepper.Step label="A resource" description="What people want to reach, and how the gateway signs in there.">
                <Step kind="Resource" done={has("Resource")}>
                  <Text size="sm">Its password stays in the gateway: name a variable (<Code>env</Code>), a file (<Code>file</Code>), or seal it:</Text>
                  <Line text="postern secret seal < password.txt" />
                </Step>
              </Stepper.Step>
              <Stepper.Step label="An access" description="Who may open it, and what they may do there. Without one, nobody.">
                <Step kind="Access" done={has("Access")} />
              </Stepper.Step>
              <Stepper.Step label="A mask" description="What must not reach them, whatever they ask.">
                <Step kind="Mask" done={has("Mask")} />
              </Stepper.Step>
              <Stepper.Step label="A rule" description="What is blocked, and what waits for a person.">
                <Step kind="Rule" done={has("Rule")} />
              </Stepper.Step>
              <Stepper.Step label="The first query" description="With the client that you use anyway.">
                <Stack gap="xs" pb="md">
                  <Line text={`postern connect ${first}`} />
                  <Group><Button component={Link} to={`/sql/${first}`} variant="light">Or on the SQL page</Button></Group>
                </Stack>
              </Stepper.Step>
              <Stepper.Completed>
                <Text size="sm">Everything is in place. <Link to="/sessions">Sessions</Link> shows what happens.</Text>
              </Stepper.Completed>
            </Stepper>
          );
        }}
      </Loaded>
    </Page>
  );
}

function Step(p: { kind: string; done: boolean; children?: React.ReactNode }) {
  return (
    <Stack gap="xs" pb="md">
      {p.children}
      <Group><Button component={Link} to={`/policy/new/${p.kind}`} variant={p.done ? "default" : "filled"}>{p.done ? `Another ${p.kind}` : `Write the ${p.kind}`}</Button></Group>
    </Stack>
  );
}

import { Box } from "@mantine/core";

/** A unified diff, its lines coloured. */
export function Diff({ text }: { text: string }) {
  return (
    <Box component="pre" className="card mono wrap" p="sm" m={0} tabIndex={0} aria-label="Difference">
      {text.split("\n").map((line, i) => (
        <span key={i} className={line.startsWith("+") ? "diff-add" : line.startsWith("-") ? "diff-del" : undefined}>{line}{"\n"}</span>
      ))}
    </Box>
  );
}

import { Box, Table } from "@mantine/core";
import type { ReactNode } from "react";

/** Facts is a list of names and what they are. */
export function Facts(p: { children: ReactNode }) {
  return (
    <Box className="card">
      <Table withRowBorders={false} verticalSpacing={4}><Table.Tbody>{p.children}</Table.Tbody></Table>
    </Box>
  );
}

export function Fact(p: { name: string; children: ReactNode }) {
  return (
    <Table.Tr>
      <Table.Td c="dimmed" w={110} style={{ verticalAlign: "top", whiteSpace: "nowrap" }}>{p.name}</Table.Td>
      <Table.Td className="wrap">{p.children}</Table.Td>
    </Table.Tr>
  );
}

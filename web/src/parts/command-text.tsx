import { Box, ScrollArea } from "@mantine/core";
import { lazy, Suspense } from "react";
import { visible } from "./format";

const SQLText = lazy(() => import("./sql-text"));

/** A command as the client sent it; SQL is coloured once the colours are here. */
export function CommandText(p: { text: string; protocol?: string; plain?: boolean }) {
  const text = visible(p.text, true);
  const sql = p.protocol === "postgres" || p.protocol === "mysql";
  const content = sql ? <Suspense fallback={text}><SQLText text={text} /></Suspense> : text;
  return (
    <ScrollArea.Autosize mah={360} type="auto">
      <Box component="pre" className={p.plain ? "mono wrap" : "card mono wrap"} p={p.plain ? 0 : "sm"} m={0} tabIndex={0}>
        {content}
      </Box>
    </ScrollArea.Autosize>
  );
}

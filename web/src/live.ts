import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { Topic } from "./api/queries";

/**
 * Keeps what is shown up to date: the gateway says which topics have changed,
 * never what, and what is on the page is read again with the reader's own
 * rights. It says whether the gateway is being heard.
 */
export function useLive(): boolean {
  const client = useQueryClient();
  const [heard, setHeard] = useState(true);
  useEffect(() => {
    const source = new EventSource("/api/v1/changes");
    const due = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    source.onopen = () => {
      setHeard(true);
      void client.invalidateQueries();
    };
    source.onerror = () => setHeard(false);
    source.addEventListener("changed", (event) => {
      for (const topic of (event.data as string).split(" ")) due.add(topic satisfies string as Topic);
      // Many changes at once are read once.
      timer ??= setTimeout(() => {
        timer = undefined;
        for (const topic of due) void client.invalidateQueries({ queryKey: [topic] });
        due.clear();
      }, 250);
    });
    return () => {
      clearTimeout(timer);
      source.close();
    };
  }, [client]);
  return heard;
}

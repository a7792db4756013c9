import "@xterm/xterm/css/xterm.css";
import { Alert, Box, Button, Group, Text } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useParams } from "@tanstack/react-router";
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import { withNonce } from "../nonce";
import { Page } from "../parts/page";

interface Tell { banner?: string; error?: string; exit?: number }

/** TerminalPage is a shell like ssh's: the same listener, the same gate, its own recording. */
export function TerminalPage() {
  const { resource } = useParams({ from: "/terminal/$resource" });
  const host = useRef<HTMLDivElement>(null);
  const [attempt, setAttempt] = useState(0);
  const [over, setOver] = useState<string>();
  useEffect(() => {
    setOver(undefined);
    const term = new Terminal({ cursorBlink: true, fontFamily: '"JetBrains Mono", monospace', fontSize: 13, scrollback: 5000, screenReaderMode: true });
    const fit = new FitAddon();
    term.loadAddon(fit);
    withNonce(() => term.open(host.current!));
    fit.fit();
    const url = new URL(`/api/v1/terminal/${encodeURIComponent(resource)}?columns=${term.cols}&rows=${term.rows}`, location.href);
    url.protocol = "wss:";
    const ws = new WebSocket(url);
    ws.binaryType = "arraybuffer";
    const encoder = new TextEncoder();
    let why = "";
    ws.onmessage = (event) => {
      if (event.data instanceof ArrayBuffer) {
        term.write(new Uint8Array(event.data));
        return;
      }
      const tell = JSON.parse(event.data as string) as Tell;
      if (tell.banner) term.write(tell.banner.replaceAll("\n", "\r\n"));
      if (tell.error) why = tell.error;
      if (tell.exit !== undefined) why = `The shell ended with status ${tell.exit}.`;
    };
    ws.onclose = (event) => setOver(why || event.reason || "The gateway didn't open a session.");
    // What is typed before the connection is there waits for it.
    let early: (string | Uint8Array)[] = [];
    const say = (data: string | Uint8Array) => {
      if (ws.readyState === WebSocket.OPEN) ws.send(data as never);
      else if (ws.readyState === WebSocket.CONNECTING && early.length < 1000) early.push(data);
    };
    ws.onopen = () => {
      for (const data of early) ws.send(data as never);
      early = [];
    };
    const typed = term.onData((text) => say(encoder.encode(text)));
    const bytes = term.onBinary((text) => say(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    const sized = term.onResize(({ cols, rows }) => say(JSON.stringify({ resize: [cols, rows] })));
    const observer = new ResizeObserver(() => fit.fit());
    observer.observe(host.current!);
    term.focus();
    return () => {
      observer.disconnect();
      for (const d of [typed, bytes, sized]) d.dispose();
      ws.onclose = null;
      ws.close();
      term.dispose();
    };
  }, [resource, attempt]);
  return (
    <Page title={resource} wide lead="Every command is decided and recorded, as in ssh.">
      {over !== undefined && (
        <Alert color="orange" icon={<IconPlugConnectedX size={16} />} title="The session is over">
          <Group justify="space-between"><Text size="sm" className="wrap">{over}</Text><Button variant="default" onClick={() => setAttempt((n) => n + 1)}>Connect again</Button></Group>
        </Alert>
      )}
      <Box ref={host} className="terminal" role="application" aria-label={`Terminal on ${resource}`} />
    </Page>
  );
}

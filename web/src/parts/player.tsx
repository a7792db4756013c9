import "asciinema-player/dist/bundle/asciinema-player.css";
import * as asciinema from "asciinema-player";
import { useEffect, useRef } from "react";
import { withNonce } from "../nonce";

/** Player plays an asciicast, at the speed and with the waits that people choose. */
export default function Player(p: { cast: string; speed: number; skipIdle: boolean }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let player: { dispose: () => void } | undefined;
    withNonce(() => {
      player = asciinema.create({ data: p.cast } as never, host.current!, {
        speed: p.speed, idleTimeLimit: p.skipIdle ? 1 : undefined, fit: "width", terminalFontFamily: '"JetBrains Mono", monospace', preload: true,
      });
    });
    return () => player?.dispose();
  }, [p.cast, p.speed, p.skipIdle]);
  return <div ref={host} />;
}

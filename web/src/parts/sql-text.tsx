import { classHighlighter, highlightCode } from "@lezer/highlight";
import { useMemo, type ReactNode } from "react";
import { postgres } from "./dialect";

/** SQL, coloured. It is text all the way: nothing in it becomes markup. */
export default function SQLText(p: { text: string }) {
  const pieces = useMemo(() => {
    const out: ReactNode[] = [];
    let key = 0;
    highlightCode(
      p.text,
      postgres.language.parser.parse(p.text),
      classHighlighter,
      (text, classes) => out.push(classes ? <span key={key++} className={classes}>{text}</span> : text),
      () => out.push("\n"),
    );
    return out;
  }, [p.text]);
  return <>{pieces}</>;
}

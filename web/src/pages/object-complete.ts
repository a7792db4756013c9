import type { CompletionContext, CompletionSource } from "@codemirror/autocomplete";
import type { Schemas } from "../api/client";

export type Keys = Schemas["ObjectKeys"][];

/**
 * Completes the keys of an object, and the words that a key takes, where the
 * cursor stands. What there is comes from the gateway's own decoder.
 */
export function completeKeys(all: Keys): CompletionSource {
  return (context: CompletionContext) => {
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const lines = context.state.doc.sliceString(0, line.from).split("\n").slice(0, -1);
    const start = Math.max(lines.lastIndexOf("---") + 1, 0);
    const document = lines.slice(start);
    const kind = [...document, line.text].map((l) => /^kind:\s*(\w+)/.exec(l)?.[1]).find(Boolean);
    const here = all.filter((k) => k.kind === kind);

    const valueOf = /^\s*(?:- )?(\w+):\s+(\S*)$/.exec(before);
    if (valueOf) {
      const path = [...parents(document, indentOf(before)), valueOf[1]].join(".");
      const words = valueOf[1] === "kind" ? [...new Set(all.map((k) => k.kind))] : (here.find((k) => k.path === path)?.words ?? []);
      if (!words.length) return null;
      return { from: context.pos - valueOf[2]!.length, options: words.map((label) => ({ label, type: "enum" })) };
    }
    const key = /^(\s*(?:- )?)(\w*)$/.exec(before);
    if (!key || (!key[2] && !context.explicit)) return null;
    const path = parents(document, key[1]!.length).join(".");
    const keys = here.find((k) => k.path === path)?.keys ?? (path ? [] : ["kind", "name"]);
    return { from: context.pos - key[2]!.length, options: keys.map((label) => ({ label, type: "property", apply: `${label}: ` })) };
  };
}

const indentOf = (line: string) => /^\s*(?:- )?/.exec(line)![0].length;

/** The keys that a line of that indentation stands below. */
function parents(lines: string[], indent: number): string[] {
  const path: string[] = [];
  let depth = indent;
  for (let i = lines.length - 1; i >= 0 && depth > 0; i--) {
    const found = /^(\s*(?:- )?)(\w+):/.exec(lines[i]!);
    if (found && found[1]!.length < depth) {
      path.unshift(found[2]!);
      depth = found[1]!.length;
    }
  }
  return path;
}

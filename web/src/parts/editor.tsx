import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionSource } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { nonce } from "../nonce";

export interface Mistake {
  line: number; // from 1
  message: string;
}

interface Props {
  value: string;
  onChange?: (value: string) => void;
  language: Extension;
  label: string;
  readOnly?: boolean;
  mistakes?: Mistake[];
  complete?: CompletionSource;
  run?: (selected: string) => void; // on Ctrl-Enter
  minHeight?: number;
}

/** Editor is a text with a language, its mistakes beside their lines. */
export default function Editor(p: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const props = useRef(p);
  props.current = p;
  const language = useRef(new Compartment());

  useEffect(() => {
    const editor = new EditorView({
      parent: host.current!,
      state: EditorState.create({
        doc: props.current.value,
        extensions: [
          EditorView.cspNonce.of(nonce()),
          lineNumbers(), history(), highlightSpecialChars(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(), highlightActiveLine(), lintGutter(),
          syntaxHighlighting(classHighlighter),
          language.current.of(props.current.language),
          autocompletion(props.current.complete ? { override: [(c) => props.current.complete?.(c) ?? null] } : {}),
          EditorState.readOnly.of(!!props.current.readOnly),
          EditorView.contentAttributes.of({ "aria-label": props.current.label }),
          EditorView.theme({ "&": { minHeight: `${props.current.minHeight ?? 200}px` }, ".cm-scroller": { minHeight: `${props.current.minHeight ?? 200}px` } }),
          EditorView.lineWrapping,
          EditorView.updateListener.of((u) => { if (u.docChanged) props.current.onChange?.(u.state.doc.toString()); }),
          keymap.of([
            {
              key: "Mod-Enter",
              run: (v) => {
                const range = v.state.selection.main;
                props.current.run?.(range.empty ? v.state.doc.toString() : v.state.sliceDoc(range.from, range.to));
                return !!props.current.run;
              },
            },
            ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, indentWithTab,
          ]),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, []);

  useEffect(() => {
    view.current?.dispatch({ effects: language.current.reconfigure(p.language) });
  }, [p.language]);

  useEffect(() => {
    const v = view.current;
    if (v && p.value !== v.state.doc.toString()) v.dispatch({ changes: { from: 0, to: v.state.doc.length, insert: p.value } });
  }, [p.value]);

  useEffect(() => {
    const v = view.current;
    if (!v) return;
    const doc = v.state.doc;
    const diagnostics: Diagnostic[] = (p.mistakes ?? []).map((m) => {
      const line = doc.line(Math.min(Math.max(m.line, 1), doc.lines));
      return { from: line.from, to: line.to, severity: "error", message: m.message };
    });
    v.dispatch(setDiagnostics(v.state, diagnostics));
  }, [p.mistakes]);

  return <div ref={host} />;
}

/** The answer's nonce, without which the browser takes no style element. */
export function nonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
}

/** Runs f, and gives the style elements that it makes the nonce: for libraries that know of none. */
export function withNonce(f: () => void) {
  const make = document.createElement.bind(document);
  document.createElement = ((tag: string, options?: ElementCreationOptions) => {
    const element = make(tag, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce();
    return element;
  }) as typeof document.createElement;
  try {
    f();
  } finally {
    delete (document as Partial<Document>).createElement;
  }
}

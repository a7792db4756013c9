// What the console's scripts share: a browser, signing in, and looking closely.
import { createRequire } from "node:module";
import fs from "node:fs";
import { chromium } from "playwright-core";

export const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell", args: flags });

/** A context of its own: its cookies, its complaints, its requests. */
export async function context(browser, options = {}) {
  const made = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 }, ...options });
  made.setDefaultTimeout(60_000); // nothing here takes long, but on a machine that does much else
  await made.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => {
      // The browser's own doing, when coloured text in an editor is typed over: no script and no markup of ours.
      if (e.violatedDirective === "style-src-attr" && !e.sourceFile) return;
      console.error(`against the content security policy: ${e.violatedDirective} ${e.blockedURI} at ${e.sourceFile}:${e.lineNumber}:${e.columnNumber} ${e.sample}`);
    });
  });
  const complaints = [];
  const requests = [];
  made.on("weberror", (e) => complaints.push(`${e.page()?.url()}: ${e.error().message}`));
  made.on("console", (m) => {
    // The browser itself says so of every answer that is a refusal; those are shown on the page.
    if (m.type() === "error" && !/^Failed to load resource|violates the following Content Security/.test(m.text())) complaints.push(`${m.page()?.url()}: ${m.text()}`);
  });
  made.on("request", (r) => requests.push(r));
  return { made, complaints, requests };
}

/** Signs in at the gateway's own provider, as a person would, and ends up where it was going. */
export async function signIn(page, base, user, password, path = "/") {
  await page.goto(base + path);
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => url.origin === new URL(base).origin && url.pathname === new URL(base + path).pathname);
}

const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds serious on the page as it stands, once what fades in has done so: by all its rules, or the named ones. */
export async function serious(page, ...rules) {
  await page.waitForFunction(() =>
    document.getAnimations().every((a) => a.playState !== "running" || a.effect?.getComputedTiming().endTime === Infinity),
  );
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const found = await page.evaluate(
    (rules) => globalThis.axe.run(document, { resultTypes: ["violations"], ...(rules.length > 0 && { runOnly: rules }) }),
    rules,
  );
  return found.violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => `${new URL(page.url()).pathname}: ${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.html.slice(0, 160)} ${n.failureSummary?.split("\n")[1] ?? ""}`).join(" | ")}`);
}

/** Waits until the page is at rest: nothing that loads. */
export async function rest(page) {
  await page.waitForLoadState("domcontentloaded");
  await page.locator('[aria-label="Loading"]').first().waitFor({ state: "detached" });
}

/** Replaces what an editor holds, as a person at a keyboard would. */
export async function write(page, editor, text) {
  await editor.click();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.insertText(text);
}

// Takes a picture of every page, in light, in dark and on a phone:
//
//   node e2e/screenshots.mjs BASE PASSWORD FOLDER SQL-SESSION REVIEW [PATH...]
//
// where dave (admins) looks at everything, at the pages of a session with SQL and
// of a review of a statement, and at PATH..., and alice works.
import fs from "node:fs";
import { context, launch, rest, signIn, write } from "./browser.mjs";

const [base, password, folder, sqlSession, review, ...more] = process.argv.slice(2);
fs.mkdirSync(folder, { recursive: true });

/** What is done on a page before its picture is taken. */
const acts = {
  "/sql/orders-db": async (page) => {
    await write(page, page.getByRole("textbox", { name: "SQL" }), "SELECT id, name, email, phone, city, joined\nFROM customers\nORDER BY joined DESC;");
    await page.getByRole("button", { name: "Run" }).click();
    await page.locator(".masked").first().waitFor();
  },
  "/terminal/web-1": async (page) => {
    const screen = page.locator(".xterm-accessibility");
    await screen.getByText(/[$#] ?$/).first().waitFor();
    await page.getByRole("application").click();
    await page.keyboard.type("uname -sm; head -3 /etc/os-release; echo the end\n");
    await screen.getByText("the end", { exact: true }).first().waitFor();
  },
  "/policy/new/Access": async (page) => {
    await page.getByRole("tab", { name: "Form" }).click();
    await page.getByLabel("Difference").waitFor();
  },
  "/policy/check": async (page) => {
    await page.getByRole("combobox", { name: "Resource" }).fill("orders-db");
    await page.getByRole("textbox", { name: "As" }).fill("alice");
    await page.getByRole("textbox", { name: "Command" }).fill("DROP TABLE orders");
    await page.getByRole("button", { name: "Ask", exact: true }).click();
    await page.getByText("no-drop-table").first().waitFor();
  },
};

/** A statement is coloured when its colours have come. */
const coloured = (page) => page.locator(".tok-keyword").first().waitFor();
acts[review] = coloured;
acts[sqlSession] = async (page) => {
  await page.getByRole("button", { name: "Watch", exact: true }).click();
  await coloured(page);
};

const rounds = {
  dave: ["/", "/reviews", "/sessions", "/policy", "/policy/new/Rule", "/policy/new/Access", "/policy/Mask/customer-pii", "/policy/check", "/audit", "/insights", "/identity", "/setup", sqlSession, review, ...more],
  alice: ["/", "/reviews", "/sql/orders-db", "/terminal/web-1", "/identity"],
};

const browser = await launch();
for (const [name, options] of Object.entries({
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 375, height: 740 } },
})) {
  for (const [user, paths] of Object.entries(rounds)) {
    const c = await context(browser, options);
    const page = await c.made.newPage();
    await signIn(page, base, user, password);
    for (const path of paths) {
      await page.goto(base + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await rest(page);
      await acts[path]?.(page);
      await page.screenshot({ path: `${folder}/${user}-${path.slice(1).replaceAll("/", "-") || "home"}-${name}.png`, animations: "disabled" });
    }
    await c.made.close();
  }
}
await browser.close();

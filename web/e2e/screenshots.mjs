// Takes a picture of every page, in light, in dark and on a phone:
//
//   node e2e/screenshots.mjs BASE USER PASSWORD FOLDER [PATH...]
import fs from "node:fs";
import { context, launch, rest, signIn } from "./browser.mjs";

const [base, user, password, folder, ...more] = process.argv.slice(2);
fs.mkdirSync(folder, { recursive: true });
const browser = await launch();
const paths = ["/", "/reviews", "/sessions", "/policy", "/policy/new/Rule", "/policy/check", "/sql/orders-db", "/audit", "/insights", "/identity", "/setup", ...more];
for (const [name, options] of Object.entries({
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 375, height: 740 } },
})) {
  const c = await context(browser, options);
  const page = await c.made.newPage();
  await signIn(page, base, user, password);
  for (const path of paths) {
    await page.goto(base + path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await rest(page);
    await page.screenshot({ path: `${folder}/${path.slice(1).replaceAll("/", "-") || "home"}-${name}.png`, animations: "disabled" });
  }
  await c.made.close();
}
await browser.close();

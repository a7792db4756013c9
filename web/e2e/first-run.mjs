// Leads an empty gateway to its first masked query, on the page that says how:
//
//   node e2e/first-run.mjs BASE PASSWORD RESOURCE-YAML
//
// where dave (dba, admins) signs in with PASSWORD.
import assert from "node:assert/strict";
import { context, launch, signIn, write } from "./browser.mjs";

const [base, password, resource] = process.argv.slice(2);
const browser = await launch();
const { made, complaints } = await context(browser);
const page = await made.newPage();

/** Follows the page's own button to a new object, writes it and puts it in force. */
async function put(kind, yaml) {
  await page.goto(`${base}/setup`);
  await page.getByRole("link", { name: `Write the ${kind}` }).click();
  await page.getByRole("heading", { name: `New ${kind}` }).waitFor();
  await write(page, page.getByRole("textbox", { name: `${kind} new` }), yaml);
  await page.getByLabel("Difference").waitFor();
  await page.getByRole("button", { name: "Put in force" }).click();
  await page.waitForURL(`${base}/policy`);
  console.log(`ok ${kind}`);
}

try {
  await signIn(page, base, "dave", password, "/setup");
  await put("Resource", resource);
  await put("Access", 'kind: Access\nname: everyone-reads\nto: ["group:dba"]\non: {names: [first-db]}\nallow:\n  - {verbs: [select]}\n');
  await put("Mask", 'kind: Mask\nname: pii\non: {names: [first-db]}\ncolumns: ["public.customers.email"]\nwith: partial\n');
  await put("Rule", "kind: Rule\nname: read-only\non: {names: [first-db]}\nuse: read-only\nthen: deny\n");
  await page.goto(`${base}/setup`);
  assert.equal(await page.getByRole("link", { name: "Or on the SQL page" }).getAttribute("href"), "/sql/first-db");
  await page.goto(`${base}/sql/first-db`);
  await page.getByRole("button", { name: "Run" }).waitFor();
  await write(page, page.getByRole("textbox", { name: "SQL" }), "SELECT id, email FROM customers ORDER BY id LIMIT 2");
  await page.getByRole("button", { name: "Run" }).click();
  await page.locator(".masked").first().waitFor();
  assert.equal(await page.locator(".masked").count(), 2);
  console.log("ok the first masked query");
  await page.goto(`${base}/setup`);
  await page.getByText("Everything is in place.").waitFor();
  assert.deepEqual(complaints, []);
  console.log("ok everything is in place");
} catch (error) {
  console.log(`FAIL at ${page.url()}: ${error.message}`);
  console.log((await page.locator("main").innerText().catch(() => "")).slice(0, 2000));
  process.exitCode = 1;
}
await browser.close();

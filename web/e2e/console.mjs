// Walks through the console as people do, against a running gateway:
//
//   node e2e/console.mjs BASE PASSWORD
//
// where alice (engineering), dave (dba, admins) and petra (auditors) sign in with PASSWORD,
// orders-db is PostgreSQL, web-1 a server with SSH, and late-db can be asked for. It prints a line for each step, and fails on the first that doesn't
// show what it should.
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { context, launch, rest, serious, signIn, write } from "./browser.mjs";

const [base, password] = process.argv.slice(2);
const browser = await launch();
const step = async (name, run) => {
  const began = Date.now();
  try {
    await run();
  } catch (error) {
    console.log(`FAIL ${name}: ${error.message}`);
    for (const [who, page] of Object.entries({ alice: mine, dave: his, petra: hers })) {
      console.log(`${who} sees, at ${page.url()}:`, (await page.locator("main").innerText().catch(() => "nothing")).slice(0, 2000));
    }
    await browser.close();
    process.exit(1);
  }
  console.log(`ok ${name} (${Date.now() - began} ms)`);
};

const alice = await context(browser);
const dave = await context(browser);
const petra = await context(browser);
const mine = await alice.made.newPage();
const his = await dave.made.newPage();
const hers = await petra.made.newPage();

await step("whoever isn't signed in is asked to, and comes back", async () => {
  await signIn(mine, base, "alice", password, "/sessions");
  await mine.getByRole("heading", { name: "Sessions", level: 1 }).waitFor();
  await signIn(his, base, "dave", password, "/");
  await his.getByRole("heading", { name: "Home" }).waitFor();
  for (const cookie of await alice.made.cookies()) {
    assert.ok(cookie.name.startsWith("__Host-") || cookie.path !== "/", cookie.name);
    assert.ok(cookie.secure && cookie.httpOnly && cookie.sameSite !== "None", `${cookie.name} isn't kept well`);
  }
});

await step("home shows what can be reached, and the line that connects", async () => {
  await mine.goto(`${base}/`);
  await mine.getByText("postern connect orders-db").waitFor();
  await mine.getByRole("button", { name: "Connection string" }).first().click();
  await mine.getByRole("button", { name: "Make a session token" }).click();
  await mine.getByText(/^postgres(ql)?:\/\/alice:/).waitFor();
  await mine.keyboard.press("Escape");
});

await step("the start page stays small, and asks nobody else", async () => {
  const fresh = await context(browser);
  await fresh.made.addCookies(await alice.made.cookies());
  const page = await fresh.made.newPage();
  let bytes = 0;
  const client = await fresh.made.newCDPSession(page);
  await client.send("Network.enable");
  client.on("Network.dataReceived", (e) => { bytes += e.dataLength; });
  const loaded = [];
  page.on("response", (r) => { if (!new URL(r.url()).pathname.startsWith("/api/")) loaded.push(r); });
  await page.goto(`${base}/`);
  await page.getByText("postern connect orders-db").waitFor();
  for (const r of fresh.requests) assert.equal(new URL(r.url()).origin, base, r.url());
  assert.ok(fresh.requests.length <= 40, `${fresh.requests.length} requests`);
  assert.ok(bytes > 0 && bytes < 1_500_000, `${bytes} bytes before compression`);
  await page.evaluate(() => document.fonts.ready);
  const sizes = await Promise.all(loaded.map(async (r) => {
    const body = await r.body();
    return { name: new URL(r.url()).pathname, size: r.url().endsWith(".woff2") ? body.length : gzipSync(body).length };
  }));
  const packed = sizes.reduce((sum, s) => sum + s.size, 0);
  assert.ok(sizes.filter((s) => s.name.endsWith(".woff2")).length >= 2, "the fonts weren't counted");
  assert.ok(packed < 350_000, `${packed} bytes compressed, fonts included: ${JSON.stringify(sizes)}`);
  console.log(`   ${sizes.length} files, ${packed} bytes compressed, fonts included`);
  await fresh.made.close();
});

await step("the SQL page masks, marks what is masked, and denies in the rule's words", async () => {
  await mine.goto(`${base}/sql/orders-db`);
  const editor = mine.getByRole("textbox", { name: "SQL" });
  const run = async (text) => {
    await mine.getByRole("button", { name: "Run" }).waitFor();
    await write(mine, editor, text);
    await mine.getByRole("button", { name: "Run" }).click();
  };
  await run("SELECT id, name, email FROM customers ORDER BY id LIMIT 3");
  await mine.locator(".masked").first().waitFor();
  assert.equal(await mine.locator(".masked").count(), 3);
  assert.ok(!(await mine.locator(".masked").first().innerText()).includes("example.com"));
  await run("DROP TABLE orders; SELECT 'beside it'");
  await mine.getByRole("alert").getByText(/denied by rule "no-drop-table"/).waitFor();
});

await step("what would steer a screen is shown as signs, where it is asked and where it is read", async () => {
  await write(mine, mine.getByRole("textbox", { name: "SQL" }), "SELECT 'a\u202eb\u200dc' || chr(7) AS \"x\u200b\"");
  await mine.locator(".cm-specialChar").first().waitFor();
  await mine.getByRole("button", { name: "Run" }).click();
  await mine.getByRole("cell", { name: "a⟨U+202E⟩b\u200dc␇", exact: true }).waitFor();
  await mine.getByRole("columnheader", { name: "x⟨U+200B⟩", exact: true }).waitFor();
  await his.goto(`${base}/sessions`);
  await his.getByRole("row").filter({ hasText: "live" }).filter({ hasText: "alice" }).first().getByRole("link").click();
  await his.getByRole("button", { name: "Watch", exact: true }).click();
  await his.getByText("'a⟨U+202E⟩b⟨U+200D⟩c'").first().waitFor();
});

await step("Run counts at the very moment when the session opens", async () => {
  const page = await alice.made.newPage();
  // Clicks after the message that opens the session was taken, and before the page is drawn anew.
  await page.addInitScript(() => {
    const Plain = globalThis.WebSocket;
    globalThis.WebSocket = class extends Plain {
      set onmessage(take) {
        super.onmessage = take && ((e) => {
          take(e);
          if (globalThis.clicked || !JSON.parse(e.data).done) return;
          const run = [...document.querySelectorAll("button")].find((b) => b.innerText === "Run");
          globalThis.clicked = run && !run.disabled;
          run?.click();
        });
      }
    };
    localStorage.setItem("postern-sql-orders-db", JSON.stringify("SELECT 6*7 AS answer"));
  });
  await page.goto(`${base}/sql/orders-db`);
  await page.getByRole("cell", { name: "42", exact: true }).waitFor();
  assert.ok(await page.evaluate(() => globalThis.clicked), "the button wasn't there yet");
  await page.close();
});

await step("a command that waits is approved in another browser, and runs", async () => {
  await write(mine, mine.getByRole("textbox", { name: "SQL" }), "UPDATE payments SET status = 'refunded' WHERE id = 7");
  await mine.getByRole("button", { name: "Run" }).click();
  await mine.getByText(/waiting for approval by group:dba/).waitFor();
  await his.goto(`${base}/reviews`);
  await his.getByText("UPDATE payments").first().click();
  await his.getByRole("heading", { name: "Review", exact: true }).waitFor();
  await his.getByText("public.payments", { exact: true }).first().waitFor();
  assert.deepEqual(await serious(his), []);
  await his.getByLabel("Reason").fill("seen the ticket");
  await his.getByRole("button", { name: "Approve once" }).click();
  await his.getByText("spent").or(his.getByText("approved")).first().waitFor();
  await mine.getByText("UPDATE 1").waitFor();
});

await step("nobody decides over their own command", async () => {
  await write(mine, mine.getByRole("textbox", { name: "SQL" }), "UPDATE payments SET status = 'paid' WHERE id = 8");
  await mine.getByRole("button", { name: "Run" }).click();
  await mine.getByText(/waiting for approval by group:dba/).waitFor();
  const other = await alice.made.newPage();
  await other.goto(`${base}/reviews`);
  await other.getByText("UPDATE payments").first().click();
  await other.getByText("You asked for this, so somebody else decides.").waitFor();
  await other.close();
  await his.goto(`${base}/reviews`);
  await his.getByText("UPDATE payments").first().click();
  await his.getByRole("button", { name: "Deny" }).click(); // without a reason it asks for one
  await his.getByLabel("Reason").fill("not this one");
  await his.getByRole("button", { name: "Deny" }).click();
  await mine.getByRole("alert").getByText(/not this one/).waitFor();
});

await step("a change that has run is shown row by row, and committed when it is approved", async () => {
  await write(mine, mine.getByRole("textbox", { name: "SQL" }), "UPDATE orders SET item = 'samovar' WHERE id = 3 RETURNING item");
  await mine.getByRole("button", { name: "Run" }).click();
  await mine.getByText(/it has run, and is committed or undone then/).waitFor();
  await his.goto(`${base}/reviews`);
  await his.getByText("UPDATE orders").first().click();
  await his.getByRole("heading", { name: "Exactly this has run, and waits to be committed" }).waitFor();
  await his.getByText("public.orders: 1 updated").waitFor();
  const rows = his.getByRole("region", { name: "Rows of public.orders, before and after" });
  await rows.getByRole("row").filter({ hasText: "before" }).filter({ hasText: "atlas" }).waitFor();
  const changed = rows.getByRole("row").filter({ hasText: "after" }).getByRole("cell", { name: "samovar" });
  assert.match(await changed.getAttribute("class"), /changed/);
  assert.deepEqual(await serious(his), []);
  assert.equal(await mine.getByText("samovar", { exact: true }).count(), 0); // not the client's yet
  await his.getByRole("button", { name: "Approve once" }).click();
  await mine.getByRole("cell", { name: "samovar", exact: true }).waitFor();
  await his.getByRole("heading", { name: "Exactly this was run" }).waitFor();
  assert.equal(await rows.count(), 0); // rows are kept until it is decided
});

const longReason = `tour is over, ${"and so is all that was to be done on this ticket, ".repeat(4)}which is the last word`;

await step("a session is read statement by statement, and ended while it lives", async () => {
  await his.goto(`${base}/sessions`);
  await his.getByRole("row").filter({ hasText: "live" }).filter({ hasText: "alice" }).first().getByRole("link").click();
  await his.getByText("is told that you watch").waitFor();
  assert.equal(await his.getByText("DROP TABLE orders").count(), 0);
  await his.getByRole("button", { name: "Watch", exact: true }).click();
  await his.getByText("DROP TABLE orders").waitFor();
  // One decision is over both statements of the message, and shown at each.
  const beside = his.locator(".timeline > *").filter({ hasText: "beside it" });
  for (const one of [his.locator(".timeline > *").filter({ hasText: "DROP TABLE orders" }), beside]) {
    await one.getByText("deny", { exact: true }).waitFor();
    await one.getByText("no-drop-table").waitFor();
  }
  await beside.getByText(/^with #\d+$/).waitFor();
  await his.setViewportSize({ width: 400, height: 740 });
  const from = await his.locator(".scale > .num").first().boundingBox();
  const to = await his.locator(".scale > .num").last().boundingBox();
  assert.ok(to.y === from.y && to.x > from.x + 200, `the time line ends at ${JSON.stringify(to)}, and begins at ${JSON.stringify(from)}`);
  await his.setViewportSize({ width: 1280, height: 800 });
  await his.getByRole("button", { name: "End now" }).click();
  await his.getByLabel("Reason").fill(longReason);
  await his.getByRole("button", { name: "End it" }).click();
  await mine.getByText("The session is over", { exact: true }).waitFor();
});

await step("a terminal is used, and played back by an auditor", async () => {
  await mine.goto(`${base}/terminal/web-1`);
  const terminal = mine.getByRole("application");
  await mine.locator(".xterm-accessibility").getByText(/[$#] ?$/).first().waitFor(); // a prompt
  await terminal.click();
  await mine.keyboard.type("echo the answer is $((6*7))\n");
  await mine.locator(".xterm-accessibility").getByText("the answer is 42").first().waitFor();
  await mine.keyboard.type("exit\n");
  await mine.getByText("The shell ended with status 0.").waitFor();
  await his.goto(`${base}/sessions`);
  await his.getByRole("row").filter({ hasText: "web-1" }).first().getByRole("link").click();
  await his.getByRole("heading", { name: "On the terminal" }).waitFor();
  await his.locator(".ap-overlay-start").click(); // plays; before that is shown, it still loads
  await his.locator(".ap-player").getByText("the answer is 42").first().waitFor();
});

await step("access is asked for, approved for less, and used", async () => {
  await mine.goto(`${base}/`);
  await mine.getByRole("button", { name: "Ask for access" }).first().click();
  await mine.getByLabel("Reason").fill("incident 12");
  await mine.getByRole("button", { name: "Ask", exact: true }).click();
  await mine.getByRole("heading", { name: "Request for access" }).waitFor();
  // `postern review ls` lists it among reviews, and what it is, is shown there.
  await his.goto(mine.url().replace("/requests/", "/reviews/"));
  await his.getByRole("heading", { name: "Request for access" }).waitFor();
  for (const [name, what] of [["Asked by", "alice"], ["Resource", "late-db"], ["Access", "late"], ["For", "1h"], ["Reason", "incident 12"]]) {
    const fact = his.getByRole("row").filter({ has: his.getByRole("cell", { name, exact: true }) });
    await fact.getByRole("cell", { name: what, exact: true }).waitFor();
  }
  await his.goto(`${base}/reviews`);
  await his.getByRole("row").filter({ hasText: "incident 12" }).getByRole("link").click();
  await his.getByRole("combobox", { name: "For" }).click();
  await his.getByRole("option", { name: "15m" }).click();
  await his.getByRole("button", { name: "Approve less" }).click();
  await mine.getByText("What was granted").waitFor();
  await mine.goto(`${base}/sql/late-db`);
  await write(mine, mine.getByRole("textbox", { name: "SQL" }), "SELECT count(*) FROM orders");
  await mine.getByRole("button", { name: "Run" }).click();
  await mine.getByText("SELECT 1", { exact: true }).waitFor();
});

await step("a policy with a mistake is told its line, and a good one its difference", async () => {
  await his.goto(`${base}/policy/new/Rule`);
  const editor = his.getByRole("textbox", { name: "Rule new" });
  await write(his, editor, 'kind: Rule\nname: no-notes\nwhen: command.verb == 1\nthen: deny\n');
  await his.getByRole("alert").filter({ hasText: "don't hold up" }).waitFor();
  await his.locator(".cm-lint-marker-error").first().waitFor();
  assert.ok(await his.getByRole("button", { name: "Put in force" }).isDisabled());
  await write(his, editor, 'kind: Rule\nname: no-notes\nwhen: command.verb == "vacuum"\nthen: deny\nmessage: "Leave that to us."\n');
  await his.getByLabel("Difference").getByText('+message: Leave that to us.').waitFor();
  await his.getByRole("button", { name: "Put in force" }).click();
  await his.getByRole("link", { name: "no-notes" }).waitFor();
  await his.goto(`${base}/policy/check`);
  await his.getByRole("combobox", { name: "Resource" }).fill("orders-db");
  await his.getByRole("textbox", { name: "As" }).fill("alice");
  await his.getByRole("textbox", { name: "Command" }).fill("VACUUM");
  await his.getByRole("button", { name: "Ask", exact: true }).click();
  await his.getByText("Leave that to us.").first().waitFor();
});

await step("what an access says about SSH is filled into a form, and stands in its YAML", async () => {
  await his.goto(`${base}/policy/new/Access`);
  await his.getByRole("tab", { name: "Form" }).click();
  const ssh = his.getByRole("region", { name: "On SSH resources, and only there" });
  for (const [label, text] of [["Users of the server", "deploy"], ["Groups in the certificate", "web"], ["Only files below", "/srv/www"]]) {
    await ssh.getByLabel(label).fill(text);
    await his.keyboard.press("Enter");
  }
  await ssh.getByLabel("Files an hour").fill("100");
  await ssh.getByLabel("Bytes an hour").fill("1048576"); // a number, not a text of digits
  const diff = his.getByLabel("Difference");
  await diff.getByText("+ssh: {logins: [deploy], groups: [web], paths: [/srv/www], transfer: {files: 100, bytes: 1048576}}").waitFor();
  await ssh.getByLabel("Only this command").fill("uptime");
  await his.getByRole("alert").filter({ hasText: "make two of it" }).waitFor();
  await ssh.getByLabel("Only this command").fill("");
  await ssh.getByLabel("Bytes an hour").fill("1MiB");
  await diff.getByText("bytes: 1048576").waitFor();
  assert.deepEqual(await serious(his), []);
});

await step("the audit log is searched and verified", async () => {
  await his.goto(`${base}/audit`);
  await his.getByText("verified", { exact: true }).waitFor();
  await his.getByLabel("Search the log").fill("identity:alice outcome:deny");
  await his.getByText("What matches, newest first").waitFor();
  await his.getByRole("row").filter({ hasText: "deny" }).filter({ hasText: "alice" }).first().waitFor();
});

await step("commands are searched for in all sessions, and a timeline leads to them", async () => {
  await his.goto(`${base}/sessions`);
  const found = his.getByRole("link", { name: /^Command \d+ in its session$/ });
  for (const deadline = Date.now() + 60_000; ; ) { // a session is indexed soon after its end
    await his.getByLabel("Search commands").fill("");
    await his.getByLabel("Search commands").fill('"drop table" orders');
    const nothing = his.getByText("No command that you may see says that.");
    await found.or(nothing).first().waitFor();
    if (await found.count()) break;
    assert.ok(Date.now() < deadline, "the command isn't found");
    await his.reload();
  }
  assert.deepEqual(await serious(his), []);
  await found.first().click();
  await his.getByText("DROP TABLE orders").first().waitFor();
  const timeline = his.getByRole("toolbar", { name: "Timeline" });
  await timeline.getByRole("button").first().focus();
  await his.keyboard.press("End");
  await his.keyboard.press("Enter");
  await his.waitForURL(/[?&]n=\d+/);
  assert.deepEqual(await serious(his), []);
});

await step("whose word counts is shown to those who may know, and who doesn't answer", async () => {
  await his.goto(`${base}/identity`);
  const one = (name) => his.getByRole("article", { name, exact: true });
  await one("Local user").getByText("answers", { exact: true }).waitFor();
  await one("pipelines").getByText("answers", { exact: true }).waitFor();
  await one("pipelines").getByText("ci:{{claims.repository}}").waitFor();
  await one("pipelines").getByText(/postern\.yaml:\d+$/).waitFor();
  await one("cluster").getByText("doesn't answer").waitFor();
  await one("cluster").getByText(/connection refused/).waitFor();
  await mine.goto(`${base}/identity`);
  await mine.getByRole("heading", { name: "Who may act in my name" }).waitFor();
  await rest(mine);
  assert.equal(await mine.getByRole("article").count(), 0);
});

await step("a code in a safe is shown to its holder, who makes it useless", async () => {
  await mine.goto(`${base}/reviews`);
  const row = mine.getByRole("row").filter({ hasText: "late-db" }).filter({ hasText: "user:dave" });
  await row.getByText("ready", { exact: true }).waitFor();
  assert.deepEqual(await serious(mine), []);
  await row.getByRole("button", { name: "Revoke" }).click();
  await row.getByText("revoked", { exact: true }).waitFor();
  assert.equal(await row.getByRole("button").count(), 0);
});

await step("a code for a safe is issued, approved by a second person, and told to nobody again", async () => {
  await his.goto(`${base}/reviews`);
  const issue = async (person, access) => {
    await his.getByRole("button", { name: "Issue", exact: true }).click();
    const form = his.getByRole("dialog", { name: "Issue emergency access" });
    await form.getByLabel("Person").fill(person);
    await his.keyboard.press("Tab");
    await form.getByRole("combobox", { name: "Opens" }).click();
    await his.getByRole("option", { name: "late-db" }).click();
    await his.keyboard.press("Tab"); // which closes the list
    await form.getByRole("combobox", { name: "By the access" }).click();
    await his.getByRole("option", { name: access, exact: true }).click();
    await form.getByLabel("Reason").fill("on call in May");
    assert.deepEqual(await serious(his), []);
    await form.getByRole("button", { name: "Issue it" }).click();
    return form;
  };
  const refused = await issue("nobody", "late-emergency");
  await refused.getByRole("alert").getByText(/nobody/).waitFor();
  await his.keyboard.press("Escape");
  await issue("alice", "late-emergency-of-two");
  const shown = his.getByRole("dialog", { name: /^The code of og_/ });
  const code = await shown.getByText(/^postern_og_/).innerText();
  await shown.getByText("It opens nothing before 1 of those who may approve it have done so.").waitFor();
  assert.deepEqual(await serious(his), []);
  await his.keyboard.press("Escape");
  await shown.waitFor({ state: "detached" });
  const row = (page) => page.getByRole("row").filter({ hasText: "on call in May" });
  await row(his).getByText("0 of 1 approvals").waitFor();
  assert.equal(await row(his).getByRole("button", { name: "Approve" }).count(), 0); // whoever issued it isn't the second person
  assert.ok(!(await his.content()).includes(code));
  await mine.goto(`${base}/reviews`);
  await row(mine).getByText("pending", { exact: true }).waitFor();
  assert.equal(await row(mine).getByRole("button", { name: "Approve" }).count(), 0); // nor is whom it is for
  await signIn(hers, base, "petra", password, "/reviews");
  await row(hers).getByRole("button", { name: "Approve" }).click();
  const form = hers.getByRole("dialog", { name: "Approve emergency access" });
  await form.getByText(/user:alice enters late-db/).waitFor();
  await form.getByLabel("Reason").fill("as agreed on");
  assert.deepEqual(await serious(hers), []);
  await form.getByRole("button", { name: "Approve it" }).click();
  await row(hers).getByText("ready", { exact: true }).waitFor();
  assert.equal(await row(hers).getByRole("button").count(), 0);
  await row(his).getByText("ready", { exact: true }).waitFor(); // by itself
  await his.goto(`${base}/audit`);
  await his.getByLabel("Search the log").fill("action:offline-grant.issue outcome:failed");
  await his.getByRole("row").filter({ hasText: "user:nobody" }).first().waitFor();
});

await step("the audit log's reasons are read whole, however wide the page is", async () => {
  for (const width of [1280, 900, 400]) {
    await his.setViewportSize({ width, height: 800 });
    await his.goto(`${base}/audit`);
    await his.getByLabel("Search the log").fill("action:session.kill");
    const reason = his.getByRole("row").getByText(/which is the last word/).first();
    await reason.waitFor();
    const cut = await reason.evaluate((e) => [e, e.closest(".card")].some((box) => box.scrollWidth > box.clientWidth));
    assert.ok(!cut, `at ${width} px it is cut`);
    assert.deepEqual(await serious(his), []);
  }
  await his.setViewportSize({ width: 1280, height: 800 });
});

await step("what loads says so, without a fault of accessibility", async () => {
  let answer;
  const held = new Promise((resolve) => { answer = resolve; });
  await his.route("**/api/v1/audit/**", async (route) => { await held; await route.fallback(); });
  await his.goto(`${base}/audit`, { waitUntil: "commit" });
  await his.getByRole("status", { name: "Loading" }).first().waitFor();
  assert.deepEqual(await serious(his), []);
  answer();
  await rest(his);
  await his.unroute("**/api/v1/audit/**");
});

const pages = ["/", "/reviews", "/sessions", "/policy", "/policy/Mask/customer-pii", "/policy/new/Access", "/policy/new/Classification", "/policy/new/Recordings", "/policy/check", "/sql/orders-db", "/audit", "/insights", "/identity", "/setup"];

await step("no page has a serious fault of accessibility, in light, dark and on a phone", async () => {
  const found = [];
  const looker = await context(browser, { colorScheme: "light" });
  await looker.made.addCookies(await dave.made.cookies());
  const page = await looker.made.newPage();
  for (const path of pages) {
    const open = async () => {
      await page.goto(base + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
    };
    const look = async (how, ...rules) => {
      await rest(page);
      found.push(...(await serious(page, ...rules)).map((f) => `${how}: ${f}`));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 1) found.push(`${path} is ${wide} px too wide: ${how}`);
    };
    await page.setViewportSize({ width: 1280, height: 800 });
    await open();
    await look("light");
    await page.emulateMedia({ colorScheme: "dark" });
    await page.locator('html[data-mantine-color-scheme="dark"]').waitFor();
    await look("dark", "color-contrast", "link-in-text-block"); // what goes by colours, which are all that is other
    await page.emulateMedia({ colorScheme: "light" });
    await page.locator('html[data-mantine-color-scheme="light"]').waitFor();
    await page.setViewportSize({ width: 375, height: 740 });
    await open();
    await look("on a phone");
  }
  await looker.made.close();
  assert.deepEqual(found, []);
});

await step("who may do less sees less, and a page that isn't theirs says so", async () => {
  await mine.goto(`${base}/`);
  await mine.getByText("postern connect orders-db").waitFor();
  assert.equal(await mine.getByRole("link", { name: "Audit log" }).count(), 0);
  await mine.goto(`${base}/audit`);
  await mine.getByRole("region", { name: "The last entries, as they come" }).getByText("your identity may not do this").waitFor();
  await rest(mine);
  assert.equal(await mine.getByText("No entry matches.").count(), 0); // it isn't for alice to know
});

await step("nothing complained on the way", async () => {
  assert.deepEqual([...alice.complaints, ...dave.complaints, ...petra.complaints], []);
});

await browser.close();

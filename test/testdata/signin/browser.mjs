// A person at a browser: opens a link, signs in where a page asks for it,
// approves what shows the code that they expect, and ends at a page that says
// that all is done.
//
//	node browser.mjs URL PROVIDER USER PASSWORD CODE
import { chromium } from 'playwright-core';

const [url, provider, user, password, code] = process.argv.slice(2);
const browser = await chromium.launch({
	executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium-headless-shell',
	args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
// The gateway's certificate is of its own CA, which this browser doesn't know.
const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
const wrong = [];
page.on('console', (m) => m.type() === 'error' && wrong.push(m.text()));
page.on('pageerror', (e) => wrong.push(String(e)));

const has = (selector) => page.locator(selector).first().isVisible();
const press = (selector) => Promise.all([page.waitForNavigation({ waitUntil: 'load' }), page.locator(selector).first().click()]);
const fail = async (why) => {
	console.error(`${why} at ${page.url()}\n${await page.content()}\n${wrong.join('\n')}`);
	await browser.close();
	process.exit(1);
};

await page.goto(url);
for (let step = 0; step < 12; step++) {
	const title = await page.title();
	if (/^(Done|Signed in) /.test(title)) {
		if (wrong.some((w) => /Content Security Policy/.test(w))) await fail('the page breaks its own policy');
		console.log(await page.locator('main').innerText());
		await browser.close();
		process.exit(0);
	}
	if (await has('button[value=approve]')) {
		const shown = (await page.locator('.code').innerText()).trim();
		if (shown !== code) await fail(`the page shows the code ${shown}, not ${code}`);
		await press('button[value=approve]');
	} else if (await has('.choices a.button')) {
		await press(`a.button[href*="provider=${provider}"]`);
	} else if (await has('input#password')) {
		await page.fill('input#user', user);
		await page.fill('input#password', password);
		await press('button');
	} else if (await has('input[name=login]')) {
		await page.fill('input[name=login]', user);
		await page.fill('input[name=password]', password);
		await press('button[type=submit]');
	} else if (await has('form button[type=submit]')) {
		await press('form button[type=submit]'); // the provider asks whether the gateway may know
	} else {
		await fail('nothing to do');
	}
}
await fail('it goes on and on');

// The page in a real browser, with psql on the other side of the proxy. Prints the name of each story that held.
// tests/it/browser.rs starts PostgreSQL and the proxy, and says in the environment where they are. It never waits for
// time, only for what is to be seen.
'use strict';

const assert = require('node:assert');
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { chromium } = require('playwright-core');

const { WEB_URL, PROXY_PORT, CHROMIUM, SCREENSHOTS, ISSUER, COUNTERSIGN } = process.env;
const TIMEOUT_MS = 60_000;
const NASTY = '<img src=x onerror=alert(1)><script>alert(2)</script>';
const DESKTOP = { viewport: { width: 1280, height: 860 } };
const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

let browser;

// psql as alice; `said` is all it has printed so far.
function psql(statement) {
  const child = spawn('psql', ['-X', '-h', '127.0.0.1', '-p', PROXY_PORT, '-U', 'alice', '-d', 'shop', '-c', statement], {
    env: { ...process.env, PGPASSWORD: 'password-of-alice', PGAPPNAME: 'psql', PGCLIENTENCODING: 'UTF8' },
  });
  const session = { said: '', child };
  let heard = () => {};
  const hear = (chunk) => { session.said += chunk; heard(); };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  session.ended = new Promise((resolve) => child.on('close', resolve));
  session.id = new Promise((resolve, reject) => {
    heard = () => { const found = session.said.match(/Access request (\w{26})/); if (found) resolve(found[1]); };
    child.on('close', () => reject(new Error(`psql was not held: ${session.said}`)));
  });
  session.id.catch(() => {});
  session.withdraw = async () => { child.kill('SIGINT'); await session.ended; };
  return session;
}

async function visitor(options = DESKTOP) {
  const context = await browser.newContext({ baseURL: WEB_URL, ...options });
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  page.troubles = [];
  page.on('console', (message) => { if (message.type() === 'error') page.troubles.push(message.text()); });
  page.on('pageerror', (error) => page.troubles.push(String(error)));
  page.on('dialog', (dialog) => { page.troubles.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => { if (!request.url().startsWith(WEB_URL)) page.troubles.push(`loads ${request.url()}`); });
  return page;
}

async function signIn(page, name, at = '/', password = `password-of-${name}`) {
  await page.goto(at);
  await page.fill('#name', name);
  await page.fill('#password', password);
  await page.click('text="Sign in"');
  await page.waitForSelector('header.top');
}

async function reviewer(options) {
  const page = await visitor(options);
  await signIn(page, 'bob');
  return page;
}

async function leave(page) {
  assert.deepStrictEqual(page.troubles, []);
  await page.context().close();
}

// Nothing that an accessibility checker calls serious.
async function isAccessible(page) {
  await page.evaluate(require('axe-core').source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`);
  assert.deepStrictEqual(told, [], page.url());
}

// Nothing sticks out to the right.
async function isNarrow(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, globalThis.innerWidth]);
  assert.ok(content <= window, `${page.url()} is ${content} wide in ${window}`);
}

async function picture(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}

const stories = {
  async 'a hold appears without a reload, and an approval lets psql go on'() {
    const page = await reviewer();
    await page.waitForSelector('html[data-watching]');
    await page.waitForSelector('text=Nothing waits on you.');
    await page.evaluate(() => { globalThis.notReloaded = true; });
    const session = psql("/* reason: order 4 left the warehouse, OPS-412 */ UPDATE orders SET status = 'shipped' WHERE id = 4");
    const id = await session.id;
    await page.waitForSelector(`a[href="/requests/${id}"]`);
    assert.match(await page.title(), /^\(1\) Inbox/);
    assert.ok(await page.evaluate(() => globalThis.notReloaded));
    await isAccessible(page);
    await page.click(`a[href="/requests/${id}"]`);
    await page.waitForSelector('.plan .costliest');
    assert.match(await page.innerText('.relations'), /public\.orders/);
    assert.match(await page.innerText('blockquote'), /left the warehouse/);
    assert.strictEqual((await page.innerText('#statement .k >> nth=0')), 'UPDATE');
    await isAccessible(page);
    await page.fill('#reason', 'fine');
    await page.keyboard.press('Escape');
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await page.waitForSelector('text=You approved it.');
    await session.ended;
    assert.match(session.said, /UPDATE 1/);
    await page.waitForSelector('.state:has-text("Executed")');
    await leave(page);
  },

  async 'a rejection needs a reason, which psql shows'() {
    const page = await reviewer();
    const session = psql('DELETE FROM customers');
    await page.goto(`/requests/${await session.id}`);
    await page.click('text="Reject"');
    await page.waitForSelector('[role=alert]:has-text("A reason is required")');
    await page.fill('#reason', `use the archive job ${NASTY}`);
    await page.click('text="Reject"');
    await page.waitForSelector('text=You rejected it.');
    await session.ended;
    assert.match(session.said, /statement rejected by bob \(dba-team\)/);
    assert.match(session.said, /use the archive job/);
    // The first answer was 422, which a browser notes.
    page.troubles = page.troubles.filter((trouble) => !trouble.includes('422'));
    await leave(page);
  },

  async 'a changed text runs in the place of the first, and others see what changed'() {
    const page = await reviewer();
    const session = psql("UPDATE customers SET note = 'all'\nWHERE true");
    const id = await session.id;
    await page.goto(`/requests/${id}`);
    await page.keyboard.press('e');
    await page.fill('#statement-edit', "UPDATE customers SET note = 'one'\nWHERE id = 1");
    await page.click('text="Show what changes"');
    assert.match(await page.innerText('.decide pre.diff .come >> nth=0'), /one/);
    await isAccessible(page);
    await page.click('text="Approve the changed text"');
    await page.waitForSelector('text=You approved the changed text.');
    await session.ended;
    assert.match(session.said, /UPDATE 1\b/);
    assert.match(await page.innerText('pre.diff .gone >> nth=0'), /all/);
    assert.match(await page.innerText('pre.diff .come >> nth=0'), /one/);
    await isAccessible(page);
    await leave(page);
  },

  async 'an approval for a time gives a grant that can be taken back'() {
    const page = await reviewer();
    const session = psql("UPDATE orders SET status = 'paid' WHERE id = 5");
    await page.goto(`/requests/${await session.id}`);
    await page.click('text="Approve for a time"');
    await page.selectOption('#for', '30m');
    await page.selectOption('#scope', 'rules');
    await page.click('text="Approve for this time"');
    await session.ended;
    const second = psql("UPDATE orders SET status = 'paid' WHERE id = 6");
    await second.ended;
    assert.match(second.said, /^UPDATE 1/);
    await page.goto('/grants');
    await page.waitForSelector('.state:has-text("In force")');
    await isAccessible(page);
    await page.click('text="Revoke"');
    await page.waitForSelector('text=the next statement runs without it');
    const third = psql("UPDATE orders SET status = 'paid' WHERE id = 7");
    await third.id;
    await third.withdraw();
    assert.match(third.said, /canceling statement due to user request/);
    await leave(page);
  },

  async 'a reason and a comment can be given on the page'() {
    const session = psql("UPDATE orders SET status = 'paid' WHERE id = 11");
    const id = await session.id;
    const requester = await visitor();
    await signIn(requester, 'alice', `/requests/${id}`);
    await requester.fill('#justification', 'OPS-7');
    await requester.click('text="Give this reason"');
    await requester.waitForSelector('blockquote:has-text("OPS-7")');
    await leave(requester);
    const page = await reviewer();
    await page.goto(`/requests/${id}`);
    await page.click('text="Comment"');
    await page.fill('#comment', `is it one order? ${NASTY}`);
    await page.click('text="Write it"');
    await page.waitForSelector('q:has-text("is it one order?")');
    await isAccessible(page);
    await session.withdraw();
    await leave(page);
  },

  async 'the trail is searched, and a record opened with its place in the chain'() {
    const session = psql("SELECT 'a needle in the trail'");
    await session.ended;
    const page = await reviewer();
    await page.click('nav >> text="Audit"');
    await page.fill('input[name=text]', 'NEEDLE');
    await page.selectOption('select[name=kind]', 'verdict');
    await page.click('text="Search"');
    await page.waitForSelector('.row code:has-text("a needle in the trail")');
    assert.strictEqual(await page.locator('.row').count(), 1);
    await isAccessible(page);
    await page.click('.row a');
    await page.waitForSelector('text=it carries that hash');
    await isAccessible(page);
    await leave(page);
  },

  async 'analytics are pictures, each with its numbers beside it'() {
    const page = await reviewer();
    await page.click('nav >> text="Analytics"');
    await page.waitForSelector('figure svg rect');
    const [shown, counted] = await page.evaluate(async () => {
      const response = await fetch('/api/v1/analytics?last=30d');
      return [document.querySelector('.tiles dd').textContent, (await response.json()).total.requests];
    });
    assert.strictEqual(shown, String(counted));
    assert.match(await page.innerText('table:has-text("By rule")'), /writes-need-review/);
    await isAccessible(page);
    await picture(page, 'analytics');
    await leave(page);
  },

  async 'an admin switches a rule, and it holds nothing until it is switched back'() {
    const page = await visitor();
    await signIn(page, 'root', '/policy', 'password-of-alice');
    await isAccessible(page);
    await page.click('[aria-label="Only observe writes-need-review"]');
    await page.waitForSelector('text=It is only observed from now on');
    const free = psql("UPDATE orders SET status = 'paid' WHERE id = 12");
    await free.ended;
    assert.match(free.said, /UPDATE 1/);
    await page.click('[aria-label="Enforce writes-need-review"]');
    await page.waitForSelector('text=It is enforced from now on');
    const held = psql("UPDATE orders SET status = 'paid' WHERE id = 12");
    await held.id;
    await held.withdraw();
    await page.goto('/audit?kind=config_change');
    await page.click('.row a >> nth=0');
    assert.match(await page.innerText('.fields >> nth=0'), /stage = "enforce"/);
    await leave(page);
  },

  async 'what ends elsewhere is shown at once, whatever somebody was writing'() {
    const page = await reviewer();
    const session = psql("UPDATE orders SET status = 'paid' WHERE id = 8");
    const id = await session.id;
    await page.goto(`/requests/${id}`);
    await page.waitForSelector('html[data-watching]');
    await page.waitForSelector('.plan .costliest');
    await page.fill('#reason', 'half a sentence');
    await session.withdraw();
    await page.waitForSelector('.state:has-text("Withdrawn")');
    await page.waitForSelector('aside:not(:has(form))', { state: 'attached' });
    await leave(page);
  },

  async 'everything works without scripts'() {
    const page = await visitor({ ...DESKTOP, javaScriptEnabled: false });
    await signIn(page, 'bob');
    const session = psql("UPDATE orders SET status = 'paid' WHERE id = 9");
    const id = await session.id;
    await page.goto('/');
    await page.click(`a[href="/requests/${id}"]`);
    await page.fill('#reason', 'fine');
    await page.click('text="Approve"');
    await page.waitForSelector('text=You approved it.');
    await session.ended;
    assert.match(session.said, /UPDATE 1/);
    for (const [link, wanted] of [['Audit', '.row'], ['Analytics', 'figure svg'], ['Policy', '.policy']]) {
      await page.click(`nav >> text="${link}"`);
      await page.waitForSelector(wanted);
    }
    await page.click('text="Sign out"');
    await page.waitForSelector('#password');
    await leave(page);
  },

  async 'markup is text, and what deceives is spelt out'() {
    const page = await reviewer();
    const session = psql(`UPDATE customers SET note = '${NASTY}\u202e' WHERE id = 2 -- ${NASTY}`);
    const id = await session.id;
    await page.goto('/');
    await page.waitForSelector(`a[href="/requests/${id}"]`);
    await page.goto(`/requests/${id}`);
    assert.match(await page.innerText('#statement'), /<img src=x onerror=alert\(1\)><script>/);
    assert.match(await page.innerText('#statement .mark'), /<U\+202E>/);
    assert.strictEqual(await page.locator('main img, main script').count(), 0);
    await session.withdraw();
    await leave(page);
  },

  async 'a phone and the dark are enough'() {
    const session = psql('DELETE FROM customers c\n USING orders o\n WHERE o.customer_id = c.id\n   AND o.status = \'cancelled\' AND c.note IS NULL -- a line that is longer than a phone is wide');
    const id = await session.id;
    for (const [name, options] of [['phone', PHONE], ['phone-dark', { ...PHONE, colorScheme: 'dark' }], ['dark', { ...DESKTOP, colorScheme: 'dark' }]]) {
      const page = await reviewer(options);
      for (const at of ['/', '/requests', '/grants', '/audit', '/audit/2', '/analytics', '/policy', `/requests/${id}`]) {
        await page.goto(at);
        await isNarrow(page);
        await isAccessible(page);
      }
      await page.waitForSelector('.plan .costliest', { state: 'attached' });
      for (const button of ['#approve', 'button:has-text("Reject")']) {
        const { y, height } = await page.locator(button).first().boundingBox();
        assert.ok(y >= 0 && y + height <= options.viewport.height, `${button} is in sight on ${name}`);
      }
      await picture(page, `request-${name}`);
      await leave(page);
    }
    await session.withdraw();
  },

  async 'somebody of the identity provider signs in there, and approves'() {
    const page = await visitor();
    const session = psql("UPDATE orders SET status = 'paid' WHERE id = 13");
    const id = await session.id;
    await page.goto(`/requests/${id}`);
    await isAccessible(page);
    await picture(page, 'login');
    await page.click('text="Sign in with Example ID"');
    await page.fill('input[name=login]', 'eve');
    await page.click('text="Continue"');
    await page.waitForSelector('#approve');
    assert.match(await page.innerText('header.top'), /eve@example\.com/);
    await page.click('#approve');
    await page.waitForSelector('text=You approved it.');
    await session.ended;
    assert.match(session.said, /UPDATE 1/);
    await page.click('text="Sign out"');
    await page.waitForSelector('#password');
    page.troubles = page.troubles.filter((trouble) => !trouble.startsWith(`loads ${ISSUER}`));
    await leave(page);
  },

  async 'countersign login gets a password from who signs in at the identity provider, and psql connects with it'() {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'countersign-login-'));
    const env = { ...process.env, BROWSER: 'true', XDG_CONFIG_HOME: home, COUNTERSIGN_URL: WEB_URL };
    const child = spawn(COUNTERSIGN, ['login', '--format', 'json'], { env });
    let [told, printed] = ['', ''];
    child.stdout.on('data', (chunk) => { printed += chunk; });
    const ended = new Promise((resolve) => child.on('close', resolve));
    const address = await new Promise((resolve, reject) => {
      child.stderr.on('data', (chunk) => { told += chunk; const found = told.match(/(http\S+)\s/); if (found) resolve(found[1]); });
      child.on('close', () => reject(new Error(`countersign login has ended: ${told}`)));
    });
    const page = await visitor();
    await page.goto(address);
    await page.click('text="Sign in with Example ID"');
    await page.fill('input[name=login]', 'eve');
    await page.click('text="Continue"');
    await page.waitForSelector('text="Let it"');
    assert.match(await page.innerText('main'), /act as eve@example\.com for an hour/);
    await isAccessible(page);
    await page.click('text="Let it"');
    await page.waitForSelector('text=The program has it. You can close this window.');
    assert.strictEqual(await ended, 0, told);
    const { user, password } = JSON.parse(printed);
    const connected = spawn('psql', ['-X', '-At', '-h', '127.0.0.1', '-p', PROXY_PORT, '-U', user, '-d', 'shop', '-c', 'SELECT count(*) > 0 FROM orders'], {
      env: { ...process.env, PGPASSWORD: password },
    });
    let said = '';
    connected.stdout.on('data', (chunk) => { said += chunk; });
    connected.stderr.on('data', (chunk) => { said += chunk; });
    await new Promise((resolve) => connected.on('close', resolve));
    assert.strictEqual(said.trim(), 't');
    const listed = spawnSync(COUNTERSIGN, ['requests', 'list', '--format', 'json'], { env, encoding: 'utf8' });
    assert.strictEqual(listed.status, 0, listed.stderr);
    fs.rmSync(home, { recursive: true });
    const door = new URL(address).searchParams.get('port');
    page.troubles = page.troubles.filter((trouble) => ![`loads ${ISSUER}`, `loads http://127.0.0.1:${door}/`].some((known) => trouble.startsWith(known)));
    await leave(page);
  },

  async 'somebody whom the identity provider knows, and nobody has listed, reads so'() {
    const page = await visitor();
    await page.goto('/login');
    await page.click('text="Sign in with Example ID"');
    await page.fill('input[name=login]', 'mallory');
    await page.click('text="Continue"');
    await page.waitForSelector('[role=alert]:has-text("Example ID knows you as mallory@example.com, but none of your groups")');
    await isAccessible(page);
    assert.deepStrictEqual((await page.context().cookies(WEB_URL)).filter(({ name }) => name.startsWith('countersign')), []);
    page.troubles = page.troubles.filter((trouble) => !trouble.startsWith(`loads ${ISSUER}`) && !trouble.includes('403'));
    await leave(page);
  },

  async 'who may not decide is offered nothing'() {
    const session = psql("UPDATE orders SET status = 'paid' WHERE id = 10");
    const id = await session.id;
    const stranger = await visitor();
    await signIn(stranger, 'carol', `/requests/${id}`);
    await stranger.waitForSelector('text=There is no such access request');
    stranger.troubles = stranger.troubles.filter((trouble) => !trouble.includes('404'));
    await leave(stranger);
    const requester = await visitor();
    await signIn(requester, 'alice', `/requests/${id}`);
    await requester.waitForSelector('text=This is your own request');
    assert.strictEqual(await requester.locator('#approve, button:has-text("Reject")').count(), 0);
    await requester.click('text="Withdraw"');
    await session.ended;
    assert.match(session.said, /canceling statement due to user request/);
    await leave(requester);
  },
};

// One pair for the README: psql that waits, and the page that decides.
async function pictures() {
  const page = await reviewer();
  await page.waitForSelector('html[data-watching]');
  const sessions = [
    psql("INSERT INTO products (name, price)\nSELECT 'Mug ' || n, 9.90 FROM generate_series(1, 10) n"),
    psql("/* reason: order 4 left the warehouse this morning, OPS-412 */\nUPDATE orders\n   SET status = 'shipped'\n WHERE id = 4"),
  ];
  for (const session of sessions) await page.waitForSelector(`a[href="/requests/${await session.id}"]`);
  await picture(page, 'inbox');
  const [, held] = sessions;
  await page.goto(`/requests/${await held.id}`);
  await page.waitForSelector('.plan .costliest');
  await picture(page, 'request');
  const terminal = await visitor({ viewport: { width: 1000, height: 215 }, deviceScaleFactor: 1.5 });
  await terminal.setContent('<pre></pre>');
  await terminal.addStyleTag({ content: 'body{margin:0;background:#10141b}pre{margin:0;padding:22px;font:15px/1.55 "DejaVu Sans Mono",monospace;color:#dfe5ee;white-space:pre-wrap}' });
  const typed = "shop=> /* reason: order 4 left the warehouse this morning, OPS-412 */\nshop-> UPDATE orders\nshop->    SET status = 'shipped'\nshop->  WHERE id = 4;\n";
  await terminal.locator('pre').evaluate((pre, text) => { pre.textContent = text; }, typed + held.said);
  await picture(terminal, 'psql-held');
  await page.click('#approve');
  await held.ended;
  await sessions[0].withdraw();
  await terminal.context().close();
  await leave(page);
}

(async () => {
  const sandbox = process.getuid() === 0 ? ['--no-sandbox'] : [];
  browser = await chromium.launch({ executablePath: CHROMIUM, args: [...sandbox, '--disable-dev-shm-usage'] });
  if (SCREENSHOTS) await pictures();
  for (const [name, play] of Object.entries(stories)) {
    await play();
    console.log(name);
  }
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});

// Messages of Slack and cards of Teams, drawn from the payloads that the proxy has sent. tests/it/notify.rs hands them in as
// JSON on standard input: [{ name, kind: 'slack' | 'teams', payload }]. Prints the text of each picture on one line of JSON.
// It knows only what the proxy uses; anything else is an error.
'use strict';

const path = require('node:path');
const { chromium } = require('playwright-core');

const { CHROMIUM, SCREENSHOTS } = process.env;

const STYLE = `
  body { margin: 0; background: #fff; }
  #card { width: 620px; padding: 16px 20px; font: 15px/1.46 'DejaVu Sans', sans-serif; color: #1d1c1d; box-sizing: border-box; }
  #card > * { margin: 0 0 10px; overflow-wrap: anywhere; }
  .from { font-weight: 700; font-size: 14px; } .from i { font-style: normal; font-weight: 400; font-size: 11px; background: #e8e8e8; border-radius: 2px; padding: 1px 3px; }
  .fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; font-size: 14px; } .fields div { white-space: pre-line; }
  pre { white-space: pre-wrap; background: #f8f8f8; border: 1px solid #ddd; border-radius: 4px; padding: 8px; font: 12px/1.5 'DejaVu Sans Mono', monospace; margin: 0; }
  .context { font-size: 12px; color: #616061; } .actions { display: flex; gap: 8px; }
  .actions span { border: 1px solid #bbb; border-radius: 4px; padding: 4px 12px; font-weight: 700; font-size: 14px; }
  .actions .primary { background: #007a5a; border-color: #007a5a; color: #fff; } .actions .danger { background: #e01e5a; border-color: #e01e5a; color: #fff; }
  .dot { display: inline-block; width: 13px; height: 13px; border-radius: 50%; vertical-align: -1px; margin-right: 2px; }
  .teams { border: 1px solid #d1d1d1; border-radius: 6px; } .teams .emphasis { background: #f3f2f1; padding: 8px; }
  .mono { font: 12px/1.5 'DejaVu Sans Mono', monospace; }
  .Warning { color: #986f0b; } .Good { color: #237b4b; } .Attention { color: #c4314b; }
`;

// Runs in the page. Builds nodes with text only, never markup.
function draw({ kind, payload, style }) {
  const node = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const unknown = (what) => { throw new Error(`not known: ${JSON.stringify(what)}`); };
  const colours = { large_yellow_circle: '#e8a723', white_check_mark: '#2eb67d', no_entry: '#e01e5a', white_circle: '#999' };
  const plain = (text) => text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&');
  const marked = (text, into) => {
    const parts = text.split(/(```[^]*?```|:[a-z_]+:|\*[^*]+\*|<[^>|]+\|[^>]+>)/);
    for (const part of parts.filter(Boolean)) {
      const emoji = part.match(/^:([a-z_]+):$/);
      if (part.startsWith('```')) into.append(node('pre', plain(part.slice(3, -3))));
      else if (emoji) { const dot = node('span', '', 'dot'); dot.style.background = colours[emoji[1]] || unknown(part); into.append(dot); }
      else if (/^\*.*\*$/.test(part)) into.append(node('b', plain(part.slice(1, -1))));
      else if (part.startsWith('<')) into.append(node('a', plain(part.slice(1, -1).split('|')[1])));
      else into.append(plain(part));
    }
    return into;
  };
  const said = (text, into) => {
    if (text.type === 'mrkdwn') return marked(text.text, into);
    if (text.type === 'plain_text') { into.textContent = text.text; return into; }
    return unknown(text);
  };
  const slack = (block) => {
    if (block.type === 'section' && block.fields) {
      const fields = node('div', '', 'fields');
      fields.append(...block.fields.map((field) => said(field, node('div'))));
      return fields;
    }
    if (block.type === 'section') return said(block.text, node('div'));
    if (block.type === 'context') return said(block.elements[0], node('div', '', 'context'));
    if (block.type === 'actions') {
      const row = node('div', '', 'actions');
      row.append(...block.elements.map((button) => node('span', button.text.text, button.style || '')));
      return row;
    }
    return unknown(block);
  };
  const teams = (block) => {
    if (block.type === 'Container') { const box = node('div', '', block.style); box.append(...block.items.map(teams)); return box; }
    if (block.type !== 'RichTextBlock') return unknown(block);
    const line = node('div');
    for (const run of block.inlines) {
      const made = node(run.weight === 'Bolder' ? 'b' : run.italic ? 'em' : 'span', run.text);
      made.className = `${run.fontType === 'Monospace' ? 'mono' : ''} ${run.color || ''}`.trim();
      if (run.size === 'Medium') made.style.fontSize = '18px';
      line.append(made);
    }
    return line;
  };
  document.head.append(node('style', style));
  const card = node('div');
  card.id = 'card';
  if (kind === 'slack') {
    const from = node('div', 'Countersign ', 'from');
    from.append(node('i', 'APP'));
    card.append(from, ...payload.blocks.map(slack));
  } else {
    const content = payload.attachments[0].content;
    card.className = 'teams';
    const row = node('div', '', 'actions');
    row.append(...content.actions.map((action) => node('span', action.title)));
    card.append(...content.body.map(teams), row);
  }
  document.body.replaceChildren(card);
  return card.innerText;
}

async function main() {
  let given = '';
  for await (const chunk of process.stdin) given += chunk;
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  try {
    for (const { name, kind, payload } of JSON.parse(given)) {
      const page = await browser.newPage({ deviceScaleFactor: 2 });
      page.on('request', (request) => { throw new Error(`loads ${request.url()}`); });
      const text = await page.evaluate(draw, { kind, payload, style: STYLE });
      if (SCREENSHOTS) await page.locator('#card').screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
      console.log(JSON.stringify(text));
      await page.close();
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => { console.error(error); process.exit(1); });

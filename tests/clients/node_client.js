// Everyday work with node-postgres. Prints what happened; nothing in it depends on whether there is a proxy.
'use strict';

const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');

const connectionString = process.env.DATABASE_URL;
const say = (label, value) => console.log(`${label}: ${JSON.stringify(value)}`);

async function types(client) {
  const values = [7, '1152921504606846976', 1.5, '123.45', true, 'ünïcødé \' " \\', Buffer.from([0, 1, 255]), [1, null], null];
  const names = ['int', 'bigint', 'float8', 'numeric', 'bool', 'text', 'bytea', 'int[]', 'text'];
  const text = `SELECT ${names.map((name, index) => `$${index + 1}::${name}`).join(', ')}`;
  say('types', (await client.query({ text, values, rowMode: 'array' })).rows);
  say('binary', (await client.query({ text: 'SELECT 1::int, true', values: [], binary: true, rowMode: 'array' })).rows);
  say('fields', (await client.query('SELECT 1 AS a, now() AS b')).fields.map((field) => [field.name, field.dataTypeID]));
  say('several', (await client.query('SELECT 1 AS a; SELECT 2 AS b')).map((result) => result.rows));
}

async function prepared(client) {
  const results = [];
  for (let n = 0; n < 5; n += 1) {
    results.push((await client.query({ name: 'doubled', text: 'SELECT $1::int * 2 AS d', values: [n] })).rows[0].d);
  }
  say('prepared', results);
  const all = await Promise.all([1, 2, 3].map((n) => client.query('SELECT $1::int AS n', [n])));
  say('queued', all.map((result) => result.rows[0].n));
}

async function cursors(client) {
  const cursor = client.query(new Cursor('SELECT generate_series(1, $1) AS n', [10]));
  const rows = [];
  for (let page = await cursor.read(4); page.length > 0; page = await cursor.read(4)) {
    rows.push(page.map((row) => row.n));
  }
  await cursor.close();
  say('cursor', rows);
}

async function copies(client) {
  await client.query('CREATE TABLE copied (id int, word text)');
  const lines = Array.from({ length: 1000 }, (_, n) => `${n}\tword ${n}\n`);
  const into = client.query(copyFrom('COPY copied FROM STDIN'));
  await pipeline(Readable.from(lines), into);
  say('copied in', (await client.query('SELECT count(*), sum(id) FROM copied')).rows);
  let text = '';
  const out = client.query(copyTo('COPY (SELECT * FROM copied ORDER BY id LIMIT 3) TO STDOUT'));
  for await (const chunk of out) text += chunk;
  say('copied out', text);
}

async function failures(client) {
  for (const statement of ['SELECT 1/0', 'SELECT * FROM nowhere', 'SELEC 1', 'SELECT $1::int']) {
    try {
      await client.query(statement, statement.includes('$1') ? ['x'] : undefined);
    } catch (error) {
      say(statement, [error.code, error.severity, error.message]);
    }
  }
  await client.query('BEGIN');
  await client.query('INSERT INTO copied VALUES (5000, NULL)');
  await client.query('SELECT 1/0').catch((error) => say('in a block', error.code));
  await client.query('SELECT 1').catch((error) => say('failed block', error.message));
  say('rollback', (await client.query('COMMIT')).command);
  say('gone', (await client.query('SELECT count(*) FROM copied WHERE id = 5000')).rows);
}

async function notifications(client) {
  const heard = new Promise((resolve) => client.on('notification', (message) => resolve([message.channel, message.payload])));
  await client.query('LISTEN news');
  await client.query("NOTIFY news, 'hello'");
  say('notified', await heard);
}

async function pools() {
  const pool = new Pool({ connectionString, max: 3 });
  const results = await Promise.all(Array.from({ length: 12 }, (_, n) => pool.query('SELECT $1::int AS n', [n])));
  say('pool', results.map((result) => result.rows[0].n));
  await pool.end();
}

async function main() {
  const client = new Client({ connectionString });
  await client.connect();
  for (const part of [types, prepared, cursors, copies, failures, notifications]) {
    console.log(`-- ${part.name}`);
    await part(client);
  }
  await client.end();
  await pools();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

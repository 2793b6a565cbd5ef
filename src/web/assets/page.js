// What the page does besides working without it: it shows changes as they happen, lets time run, and takes keys.
// It never builds markup: what it puts in place is what the server rendered.
'use strict';

(() => {
  const QUIET_MS = 120;
  const APART_MS = 800;
  const root = document.documentElement;
  root.dataset.scripts = '';

  // Changes, without a reload.
  let due = 0;
  let last = 0;
  let isBusy = false;
  // One at a time, so that what is older never replaces what is newer.
  const soon = () => {
    if (due) return;
    due = setTimeout(async () => {
      due = 0;
      if (isBusy) { soon(); return; }
      isBusy = true;
      last = Date.now();
      try { await refresh(); } finally { isBusy = false; }
    }, Math.max(QUIET_MS, last + APART_MS - Date.now()));
  };
  // An answer to a form stands at the form's address; the page itself is elsewhere.
  const here = document.querySelector('[data-at]')?.dataset.at ?? location.pathname + location.search;
  const isInUse = (part) => part.querySelector('[role=alert], details[open]') || part.contains(document.activeElement) && document.activeElement.matches('input, textarea, select')
    || [...part.querySelectorAll('textarea, input:not([type=hidden])')].some((field) => field.value !== field.defaultValue);

  async function refresh() {
    let response;
    try {
      response = await fetch(here, { headers: { accept: 'text/html' } });
    } catch {
      return;
    }
    if (response.redirected) { location.assign(here); return; }
    if (!response.ok) return;
    const next = new DOMParser().parseFromString(await response.text(), 'text/html');
    document.title = next.title;
    for (const part of document.querySelectorAll('[data-live]')) {
      const fresh = next.getElementById(part.id);
      if (!fresh || fresh.outerHTML === part.outerHTML) continue;
      // Somebody is writing there; what they send is checked against what they have seen.
      if (isInUse(part) && fresh.querySelector('form')) continue;
      const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute('href') || document.activeElement.id : null;
      part.replaceWith(document.adoptNode(fresh));
      if (focused) [...fresh.querySelectorAll('a, [id]')].find((one) => one.getAttribute('href') === focused || one.id === focused)?.focus();
    }
    tick();
  }

  const events = new EventSource('/api/v1/events');
  // What has changed before the stream began was told to nobody.
  events.addEventListener('hello', () => { root.dataset.watching = ''; soon(); });
  for (const kind of ['request', 'grants', 'missed']) events.addEventListener(kind, soon);
  events.addEventListener('error', () => { delete root.dataset.watching; });

  // Time left, in the words of the server.
  const inWords = (left) => left < 60 ? `${left} s` : left < 3600 ? `${Math.floor(left / 60)} min` : `${Math.floor(left / 3600)} h ${Math.floor(left % 3600 / 60)} min`;
  function tick() {
    for (const left of document.querySelectorAll('[data-until]')) {
      const seconds = Math.max(0, Math.floor(Number(left.dataset.until) - Date.now() / 1000));
      left.textContent = `${inWords(seconds)} left`;
      left.classList.toggle('hurry', seconds < 300);
    }
  }
  setInterval(tick, 1000);

  // Keys.
  const step = (by) => {
    const rows = [...document.querySelectorAll('.row > a')];
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(Math.max(at + by, 0), rows.length - 1)]?.focus();
  };
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    i: () => location.assign('/'),
    a: () => document.getElementById('approve')?.focus(),
    r: () => document.getElementById('reason')?.focus(),
    e: () => {
      const field = document.getElementById('statement-edit');
      if (field) { field.closest('details').open = true; field.focus(); }
    },
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input, textarea, select')) {
      if (event.key === 'Escape') event.target.blur();
      return;
    }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
})();

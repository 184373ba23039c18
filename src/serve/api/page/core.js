'use strict';
// What the page's parts share: elements, the server, errors, models, the key.

const $ = id => document.getElementById(id);
const percent = p => (100 * p).toFixed(p > 0.0995 && p < 0.9005 ? 0 : 1) + ' %';
const signed = w => (w < 0 ? '−' : '+') + Math.abs(w).toFixed(2);
const count = n => n.toLocaleString('en');
/** Whether there can be a word in a text: the server refuses one without. */
const hasWord = text => /[\p{L}\p{N}]|[^\x00-\x7f]/u.test(text);
const wait = ms => new Promise(done => setTimeout(done, ms));

/** An element with attributes and children; text is never read as HTML. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The same for SVG. */
function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The tab's own storage; a browser that forbids it gets none.
const tab = {
  get(name) { try { return sessionStorage.getItem(name) ?? ''; } catch { return ''; } },
  set(name, value) { try { value ? sessionStorage.setItem(name, value) : sessionStorage.removeItem(name); } catch { /* forbidden */ } },
};

/** An answer that is no prediction. `kind` says what to do about it. */
class Trouble extends Error {
  constructor(kind, message, seconds = 0) { super(message); this.kind = kind; this.seconds = seconds; }
}

const server = {
  key: tab.get('key'),
  model: '',
  limits: { max_texts: 1024, max_body_bytes: 2 << 20, max_windows: 256 },

  async ask(path, body, signal) {
    const headers = { accept: 'application/json' };
    if (this.key) headers.authorization = 'Bearer ' + this.key;
    if (body) headers['content-type'] = 'application/json';
    let response;
    try {
      response = await fetch(path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal, cache: 'no-store' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Trouble('gone', 'The server does not answer. Your text is still here; the page keeps trying.');
    }
    if (response.ok) return response.json();
    const detail = await response.json().then(problem => problem.detail ?? '', () => '');
    const seconds = Number(response.headers.get('retry-after')) || 1;
    switch (response.status) {
      case 401: throw new Trouble('key', this.key ? 'The server does not take this key.' : 'This server asks for an API key.');
      case 413: throw new Trouble('large', 'This is more text than the server takes at once. Shorten it, or send it as a file.');
      case 422: throw new Trouble('words', detail);
      case 404: throw new Trouble('other', detail || 'The server does not know this model any more.');
      case 429: case 503: throw new Trouble('busy', 'The server is busy. Your text is still here; the page tries again by itself.', seconds);
      default: throw new Trouble('other', 'The server could not do this (' + response.status + '). ' + detail);
    }
  },

  async info() {
    const info = await this.ask('info');
    this.limits = { ...this.limits, ...info.limits };
    const names = info.models.map(model => model.name);
    if (!names.includes(this.model)) this.model = info.model;
    $('model').replaceChildren(...names.map(name => make('option', { value: name }, name)));
    $('model').value = this.model;
    $('model-box').hidden = names.length < 2;
  },
};

const notice = {
  show(message, action, act) {
    $('notice-text').textContent = message;
    $('notice-button').hidden = !action;
    $('notice-button').textContent = action ?? '';
    $('notice-button').onclick = act ?? null;
    $('notice').hidden = false;
  },
  hide() { $('notice').hidden = true; },
};

// Told when the server can be asked anew: a key was given, a model chosen, the server is back.
const again = new EventTarget();

function askForKey(message) {
  $('key-form').hidden = false;
  $('key-button').hidden = false;
  if (message && server.key) notice.show(message);
}

$('key-form').addEventListener('submit', event => {
  event.preventDefault();
  server.key = $('key').value.trim();
  tab.set('key', server.key);
  $('key').value = '';
  $('key-form').hidden = true;
  notice.hide();
  start();
});

$('key-button').addEventListener('click', () => {
  $('key-form').hidden = !$('key-form').hidden;
  if (!$('key-form').hidden) $('key').focus();
});

$('model').addEventListener('change', () => {
  server.model = $('model').value;
  again.dispatchEvent(new Event('ready'));
});

/** Learns what is served; tries until it succeeds. */
async function start() {
  for (let pause = 500; ; pause = Math.min(2 * pause, 5000)) {
    try {
      await server.info();
      if (server.key) $('key-button').hidden = false;
      notice.hide();
      again.dispatchEvent(new Event('ready'));
      return;
    } catch (trouble) {
      if (trouble.kind === 'key') { askForKey(trouble.message); return; }
      notice.show(trouble.message);
      await wait(pause);
    }
  }
}

addEventListener('DOMContentLoaded', start);

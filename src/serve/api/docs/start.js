'use strict';
// Shows the description of the server that this page came from. Where it has keys, one is asked for first; the tab keeps it,
// as for the other page.

const form = document.getElementById('key-form');
const notice = document.getElementById('notice');
const tab = {
  get() { try { return sessionStorage.getItem('key') ?? ''; } catch { return ''; } },
  set(key) { try { sessionStorage.setItem('key', key); } catch { /* forbidden */ } },
};

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

async function show() {
  const key = tab.get();
  let response;
  try {
    response = await fetch('openapi.json', { headers: key ? { authorization: 'Bearer ' + key } : {}, cache: 'no-store' });
  } catch {
    say('The server does not answer. Load the page anew once it does.');
    return;
  }
  form.hidden = response.status !== 401;
  if (response.status === 401) {
    say(key ? 'The server does not take this key.' : '');
    return;
  }
  if (!response.ok) {
    say('The server could not do this (' + response.status + ').');
    return;
  }
  say('');
  const spec = await response.json();
  // Whatever address the description names: asked is this one.
  spec.servers = [{ url: new URL('.', location.href).href.replace(/\/$/, '') }];
  const ui = SwaggerUIBundle({
    spec,
    dom_id: '#api',
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    onComplete: () => { if (key) ui.preauthorizeApiKey('key', key); },
  });
}

form.addEventListener('submit', event => {
  event.preventDefault();
  tab.set(document.getElementById('key').value.trim());
  show();
});

const dark = matchMedia('(prefers-color-scheme: dark)');
const paint = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', paint);
paint();
show();

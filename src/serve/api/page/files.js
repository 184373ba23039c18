'use strict';
// A file of texts: read here, scored in batches, shown as histogram and table, saved as CSV.

/** Texts and bytes of a batch: an answer comes within a second or so, and a busy server is not held. */
const BATCH_TEXTS = 64, BATCH_BYTES = 256 * 1024;
const PAGE_ROWS = 20, MAX_FILE_BYTES = 64 << 20, TRIES = 8;
/** Names under which tables keep their texts, the likeliest first. */
const TEXT_COLUMNS = ['text', 'review', 'review_text', 'reviewtext', 'content', 'comment', 'body', 'sentence', 'message', 'summary', 'phrase'];

const job = { controller: null, name: '', header: [], records: [], column: 0, rows: [], order: { key: 'place', up: true }, page: 0 };

$('file').addEventListener('change', () => { if ($('file').files[0]) take($('file').files[0]); $('file').value = ''; });
const carriesFile = event => [...(event.dataTransfer?.types ?? [])].includes('Files');
let depth = 0;
addEventListener('dragenter', event => { if (carriesFile(event)) { event.preventDefault(); depth++; $('veil').hidden = false; } });
addEventListener('dragover', event => { if (carriesFile(event)) event.preventDefault(); });
addEventListener('dragleave', event => { if (carriesFile(event) && --depth <= 0) { depth = 0; $('veil').hidden = true; } });
addEventListener('drop', event => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  depth = 0;
  $('veil').hidden = true;
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
$('stop').addEventListener('click', () => job.controller?.abort());
$('column').addEventListener('change', () => { job.column = +$('column').value; score(); });
$('previous').addEventListener('click', () => { job.page--; showRows(); });
$('next').addEventListener('click', () => { job.page++; showRows(); });
$('download').addEventListener('click', download);

/** The text of a file, whatever it is packed and written in. */
async function decode(file) {
  let bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')).getReader();
    const parts = [];
    let size = 0;
    for (let part; !(part = await unpacked.read()).done;) {
      parts.push(part.value);
      if ((size += part.value.length) > MAX_FILE_BYTES) throw new Trouble('file', 'Unpacked, the file is larger than 64 MB. Use `trainer predict` for tables of that size.');
    }
    bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  }
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    return new TextDecoder(bytes[0] === 0xff ? 'utf-16le' : 'utf-16be').decode(bytes);
  }
  try { return new TextDecoder('utf-8', { fatal: true }).decode(bytes); } catch { return new TextDecoder('windows-1252').decode(bytes); }
}

/** The rows of a table: fields in quotes may hold separators, line ends and doubled quotes. */
function parseTable(text, separator) {
  const rows = [];
  let row = [], at = 0;
  while (at < text.length) {
    let field = '';
    if (text[at] === '"') {
      for (at++; at < text.length; at++) {
        const quote = text.indexOf('"', at);
        if (quote < 0) { field += text.slice(at); at = text.length; break; }
        field += text.slice(at, quote);
        at = quote + 1;
        if (text[at] !== '"') break;
        field += '"';
      }
    }
    let end = at;
    while (end < text.length && text[end] !== separator && text[end] !== '\n' && text[end] !== '\r') end++;
    field += text.slice(at, end);
    row.push(field);
    at = end;
    if (text[at] === separator) { at++; if (at === text.length) row.push(''); else continue; }
    if (row.length > 1 || row[0]) rows.push(row);
    row = [];
    if (text[at] === '\r' && text[at + 1] === '\n') at++;
    at++;
  }
  return rows;
}

/** Which separator the first line of a table has; none where it has no table's look. */
function separatorOf(text, name) {
  const line = text.slice(0, 4096).replace(/"[^"]*"/g, '').split(/\r?\n/, 1)[0];
  if (/\.tsv(\.gz)?$/i.test(name)) return '\t';
  const most = ['\t', ';', ',', '|'].map(mark => [line.split(mark).length - 1, mark]).sort((a, b) => b[0] - a[0])[0];
  return most[0] ? most[1] : ',';
}

/** A file as header and records. */
function parse(text, name) {
  const plain = name.replace(/\.gz$/i, '');
  const json = value => typeof value === 'string' ? { text: value } : value;
  if (/\.(jsonl|ndjson|json)$/i.test(plain) || /^\s*[[{]/.test(text)) {
    let objects;
    try { const whole = JSON.parse(text); objects = Array.isArray(whole) ? whole : [whole]; } catch {
      objects = text.split(/\r?\n/).filter(line => line.trim()).map(line => { try { return JSON.parse(line); } catch { return null; } });
      if (!objects.some(Boolean)) throw new Trouble('file', 'No line of this file is JSON.');
    }
    objects = objects.map(value => json(value) ?? {});
    const header = [...new Set(objects.flatMap(object => Object.keys(object)))];
    const cell = value => value === undefined || value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
    return { header, records: objects.map(object => header.map(key => cell(object[key]))) };
  }
  if (/\.(csv|tsv)$/i.test(plain)) {
    const [first = [], ...rest] = parseTable(text, separatorOf(text, plain));
    const names = first.map(field => field.trim().toLowerCase());
    const headed = first.length > 1 || TEXT_COLUMNS.includes(names[0]);
    const header = headed ? first : ['text'];
    return { header, records: (headed ? rest : [first, ...rest]).map(row => header.map((_, place) => row[place] ?? '')) };
  }
  return { header: ['text'], records: text.split(/\r?\n/).filter(line => line.trim()).map(line => [line]) };
}

/** The column that holds the texts: by its name, else the one with the longest fields. */
function textColumn(header, records) {
  const names = header.map(name => name.trim().toLowerCase());
  for (const name of TEXT_COLUMNS) if (names.includes(name)) return names.indexOf(name);
  const sample = records.slice(0, 200);
  const lengths = header.map((_, place) => sample.reduce((sum, row) => sum + row[place].length, 0));
  return Math.max(0, lengths.indexOf(Math.max(...lengths)));
}

async function take(file) {
  job.controller?.abort();
  $('job').hidden = false;
  $('result').hidden = true;
  $('column-box').hidden = true;
  $('job-name').textContent = file.name;
  $('job-state').textContent = 'Reading…';
  $('progress').value = 0;
  $('files').scrollIntoView({ block: 'nearest' });
  try {
    if (file.size > MAX_FILE_BYTES) throw new Trouble('file', 'The file is larger than 64 MB. Use `trainer predict` for tables of that size.');
    const text = (await decode(file)).replace(/^\ufeff/, '');
    const { header, records } = parse(text, file.name);
    if (!records.length) throw new Trouble('file', 'The file holds no text.');
    Object.assign(job, { name: file.name, header, records, column: textColumn(header, records) });
  } catch (trouble) {
    $('job-state').textContent = trouble instanceof Trouble ? trouble.message : 'The file could not be read.';
    return;
  }
  $('column').replaceChildren(...job.header.map((name, place) => make('option', { value: place }, name || 'column ' + (place + 1))));
  $('column').value = job.column;
  $('column-box').hidden = job.header.length < 2;
  score();
}

/** Asks for a batch until there is an answer; one text by one where the server minds a text among them. */
async function scoreBatch(rows, signal) {
  for (let tries = 0; ; tries++) {
    try {
      const body = { texts: rows.map(row => row.text) };
      if (server.model) body.model = server.model;
      const { predictions } = await server.ask('predict', body, signal);
      predictions.forEach((prediction, place) => Object.assign(rows[place], { label: prediction.label, positive: prediction.probabilities.positive }));
      return;
    } catch (trouble) {
      if (trouble.name === 'AbortError') throw trouble;
      if (trouble.kind === 'words' || trouble.kind === 'large') {
        if (rows.length === 1) { rows[0].problem = trouble.kind === 'large' ? 'too long' : 'no word'; return; }
        const half = rows.length >> 1;
        await scoreBatch(rows.slice(0, half), signal);
        return scoreBatch(rows.slice(half), signal);
      }
      if (tries >= TRIES || (trouble.kind !== 'busy' && trouble.kind !== 'gone')) throw trouble;
      $('job-state').textContent = trouble.kind === 'busy' ? 'The server is busy; going on in a moment…' : 'The server does not answer; going on when it does…';
      await wait(Math.max(1000 * trouble.seconds, 400 * 2 ** Math.min(tries, 4)));
      if (signal.aborted) throw new DOMException('stopped', 'AbortError');
    }
  }
}

async function score() {
  job.controller?.abort();
  const controller = job.controller = new AbortController();
  job.rows = job.records.map((record, place) => ({ place, text: record[job.column].trim() }));
  job.page = 0;
  $('stop').hidden = false;
  $('result').hidden = true;
  $('progress').value = 0;
  const left = job.rows.filter(row => hasWord(row.text) || !(row.problem = row.text ? 'no word' : 'empty'));
  const begin = performance.now();
  let done = job.rows.length - left.length, at = 0;
  try {
    while (at < left.length) {
      let end = at, bytes = 0;
      while (end < left.length && end - at < Math.min(BATCH_TEXTS, server.limits.max_texts) && (end === at || bytes + 2 * left[end].text.length < BATCH_BYTES)) bytes += 2 * left[end++].text.length;
      await scoreBatch(left.slice(at, end), controller.signal);
      done += end - at;
      at = end;
      $('progress').value = done / job.rows.length;
      $('job-state').textContent = count(done) + ' of ' + count(job.rows.length) + ' scored';
    }
    const seconds = (performance.now() - begin) / 1000;
    $('job-state').textContent = count(job.rows.length) + (job.rows.length === 1 ? ' text' : ' texts') + ' scored in ' + (seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) + ' s';
    $('progress').value = 1;
  } catch (trouble) {
    if (controller !== job.controller) return;
    if (trouble.kind === 'key') askForKey(trouble.message);
    const why = trouble.name === 'AbortError' ? 'Stopped' : trouble.message;
    $('job-state').textContent = why + (/[.!]$/.test(why) ? '' : '.') + ' ' + count(done) + ' of ' + count(job.rows.length) + ' are scored and stay here.';
  }
  $('stop').hidden = true;
  showResult();
}

function showResult() {
  const scored = job.rows.filter(row => row.label);
  $('result').hidden = !scored.length;
  if (!scored.length) return;
  const of = label => scored.filter(row => row.label === label).length;
  const unsure = of('uncertain'), without = job.rows.length - scored.length;
  $('counts').textContent = count(of('positive')) + ' positive, ' + count(of('negative')) + ' negative' + (unsure ? ', ' + count(unsure) + ' uncertain' : '') + (without ? ', ' + count(without) + ' not scored' : '');
  showHistogram(scored);
  showRows();
}

function showHistogram(scored) {
  const bins = new Array(20).fill(0);
  for (const row of scored) bins[Math.min(19, Math.floor(row.positive * 20))]++;
  const [width, height, left, bottom, top] = [Math.max(320, Math.min($('job').clientWidth || 900, 1000)), 190, 44, 38, 10];
  const most = Math.max(...bins), slot = (width - left - 8) / 20;
  const y = n => top + (height - top - bottom) * (1 - n / most);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'How many texts there are for each probability of positive, in twenty steps: ' + bins.join(', ') });
  for (const n of new Set([0, Math.round(most / 2), most])) {
    svg.append(draw('line', { x1: left, x2: width - 8, y1: y(n), y2: y(n), class: 'axis' }), draw('text', { x: left - 8, y: y(n) + 4, 'text-anchor': 'end' }, count(n)));
  }
  bins.forEach((n, bin) => {
    const bar = draw('rect', { x: left + bin * slot + 1, width: slot - 2, y: y(n), height: y(0) - y(n), rx: 2, class: 'bin ' + (bin < 10 ? 'negative' : 'positive') });
    bar.append(draw('title', {}, count(n) + ' between ' + 5 * bin + ' % and ' + 5 * (bin + 1) + ' %'));
    svg.append(bar);
  });
  for (const p of [0, 25, 50, 75, 100]) svg.append(draw('text', { x: left + slot * 20 * p / 100, y: height - 20, 'text-anchor': 'middle' }, p + ' %'));
  svg.append(draw('text', { x: left + slot * 10, y: height - 3, 'text-anchor': 'middle' }, 'probability of positive'));
  $('histogram').replaceChildren(svg);
}

const COLUMNS = [['place', 'Row'], ['positive', 'Positive'], ['label', 'Label'], ['text', 'Text']];

function sorted() {
  const { key, up } = job.order;
  const rank = row => row[key] ?? (typeof job.rows[0][key] === 'string' ? '' : -1);
  return [...job.rows].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return (x < y ? -1 : x > y ? 1 : a.place - b.place) * (up ? 1 : -1);
  });
}

function showRows() {
  $('table-head').replaceChildren(...COLUMNS.map(([key, name]) => {
    const here = job.order.key === key;
    const button = make('button', { type: 'button' }, name + (here ? job.order.up ? ' ▲' : ' ▼' : ''));
    button.addEventListener('click', () => {
      job.order = { key, up: here ? !job.order.up : key !== 'positive' };
      job.page = 0;
      showRows();
      $('table-head').children[COLUMNS.findIndex(column => column[0] === key)].firstChild.focus();
    });
    return make('th', { scope: 'col', 'aria-sort': here ? job.order.up ? 'ascending' : 'descending' : 'none' }, button);
  }));
  const rows = sorted(), pages = Math.ceil(rows.length / PAGE_ROWS);
  job.page = Math.max(0, Math.min(job.page, pages - 1));
  $('rows').replaceChildren(...rows.slice(job.page * PAGE_ROWS, (job.page + 1) * PAGE_ROWS).map(row => {
    const label = row.label ?? row.problem ?? 'not scored';
    return make('tr', {}, make('td', {}, count(row.place + 1)), make('td', {}, row.positive === undefined ? '' : percent(row.positive)),
      make('td', row.label ? { class: row.label + '-ink' } : {}, label), make('td', { class: 'text' }, make('span', {}, row.text.slice(0, 600))));
  }));
  $('page').textContent = 'Page ' + (job.page + 1) + ' of ' + pages;
  $('previous').disabled = job.page === 0;
  $('next').disabled = job.page === pages - 1;
}

/** Every column of the file, then what was found, in the file's order. */
function download() {
  const field = value => /[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value;
  const lines = [[...job.header, 'label', 'positive'], ...job.rows.map(row => [...job.records[row.place], row.label ?? '', row.positive === undefined ? '' : row.positive.toFixed(6)])];
  const blob = new Blob([lines.map(line => line.map(field).join(',')).join('\r\n') + '\r\n'], { type: 'text/csv' });
  const link = make('a', { href: URL.createObjectURL(blob), download: job.name.replace(/(\.\w+)?(\.gz)?$/i, '') + '-scored.csv' });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

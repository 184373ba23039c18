'use strict';
// One review: the verdict as one types, its words, its sentences, how it was read.

const EXAMPLES = {
  'praise': 'A gripping, beautifully shot film. The young lead is a revelation, and the last ten minutes had me in tears.',
  'blame': 'What a waste of two hours. The plot makes no sense, the jokes fall flat and nobody seems to want to be there.',
  'a change of mind': 'The first half is slow and rather dull, and I nearly walked out. I am glad that I stayed! Once the two brothers meet, it becomes one of the warmest, funniest films of the year.',
  'damned with praise': 'The costumes are lovely and the music is wonderful. If only there were a story. It is pretty, empty and much too long.',
  'short': 'Not bad at all.',
};
/** Time without typing before the server is asked, and before a screen reader is told. */
const PAUSE_MS = 140, SPEAK_MS = 1200;
/** The share of the strongest word from which on a word gets each of the four colours, and the least that counts as strong. */
const STEPS = [0.07, 0.18, 0.4, 0.75], STRONG = 0.35;

const review = { timer: 0, speaker: 0, controller: null, words: [], at: 0, failures: 0 };
const box = $('text');

for (const [name, text] of Object.entries(EXAMPLES)) {
  const button = make('button', { type: 'button', class: 'plain' }, name);
  button.addEventListener('click', () => { box.value = text; ask(); });
  $('examples').append(button);
}
box.value = tab.get('text');
box.addEventListener('input', () => { clearTimeout(review.timer); review.timer = setTimeout(() => ask(), PAUSE_MS); });
$('clear').addEventListener('click', () => { box.value = ''; box.focus(); ask(); });
again.addEventListener('ready', () => ask());

/** Asks about the text; the verdict alone where the server takes no more about so long a one. */
async function ask(alone = false) {
  clearTimeout(review.timer);
  review.controller?.abort();
  const text = box.value;
  tab.set('text', text);
  if (!hasWord(text)) { review.controller = null; rest(text.trim() ? 'No word in it yet' : 'Waiting for a text'); return; }
  const controller = review.controller = new AbortController();
  const body = alone ? { text } : { text, explain: true, sentences: true, trajectory: true, offsets: 'utf16' };
  if (server.model) body.model = server.model;
  const begin = performance.now();
  try {
    const answer = await server.ask('predict', body, controller.signal);
    // A later text has been asked about meanwhile.
    if (controller !== review.controller) return;
    review.failures = 0;
    notice.hide();
    show(text, answer, performance.now() - begin);
  } catch (trouble) {
    if (trouble.name === 'AbortError' || controller !== review.controller) return;
    if (trouble.kind === 'words') { notice.hide(); rest('No word in it yet'); return; }
    if (trouble.kind === 'key') { askForKey(trouble.message); return; }
    if (trouble.kind === 'large' && !alone) { ask(true); return; }
    if (trouble.kind === 'gone' || trouble.kind === 'busy') {
      // Sooner at first, then less and less often.
      const pause = Math.max(1000 * trouble.seconds, Math.min(500 * 2 ** review.failures++, 8000));
      notice.show(trouble.message, 'Try now', () => ask(alone));
      review.timer = setTimeout(() => ask(alone), pause);
      return;
    }
    notice.show(trouble.message, 'Try again', () => ask());
  }
}

/** Nothing to judge. */
function rest(message) {
  document.querySelector('.verdict').classList.add('waiting');
  $('label').className = 'label';
  $('label').textContent = message;
  $('probability').textContent = '';
  $('facts').replaceChildren();
  $('needle').style.transform = 'rotate(0deg)';
  $('why').hidden = $('read').hidden = true;
  speak('');
}

function speak(message) {
  clearTimeout(review.speaker);
  review.speaker = setTimeout(() => { $('spoken').textContent = message; }, SPEAK_MS);
}

function show(text, answer, ms) {
  const positive = answer.probabilities.positive;
  document.querySelector('.verdict').classList.remove('waiting');
  $('label').className = 'label ' + answer.label;
  $('label').textContent = answer.label;
  $('needle').style.transform = 'rotate(' + (180 * positive - 90) + 'deg)';
  $('probability').textContent = percent(positive) + ' likely positive' + (answer.mixed ? ', but its sentences disagree' : '');
  const facts = [[count(answer.tokens) + (answer.tokens === 1 ? ' token' : ' tokens') + ' read']];
  if (answer.unknown_tokens) facts.push([count(answer.unknown_tokens) + ' unknown']);
  if (answer.truncated) facts.push(['cut: the first ' + count(answer.dropped_tokens) + ' not read', 'warn']);
  if (!$('model-box').hidden) facts.push(['by ' + answer.model]);
  facts.push([ms < 10 ? ms.toFixed(1) + ' ms' : Math.round(ms) + ' ms']);
  $('facts').replaceChildren(...facts.map(([fact, kind]) => make('li', kind ? { class: kind } : {}, fact)));
  speak(answer.label + ', ' + percent(positive) + ' likely positive');
  if (!answer.words) {
    $('why').hidden = $('read').hidden = true;
    notice.show('This text is too long to be explained; its verdict stands all the same.');
    return;
  }
  showWords(text, answer);
  showStrongest(text, answer.words);
  showCurve(text, answer);
}

/** The class of a word's colour. */
function shade(weight, strongest) {
  const share = Math.abs(weight) / Math.max(strongest, STRONG);
  const step = STEPS.filter(least => share >= least).length;
  return step ? (weight > 0 ? 'p' : 'n') + step : '';
}

const effect = word => signed(word.weight) + (word.weight < 0 ? ', towards negative' : ', towards positive') + (word.known ? '' : '; an unknown word');

function showWords(text, answer) {
  const strongest = Math.max(...answer.words.map(word => Math.abs(word.weight)), 0);
  const rows = [];
  let at = 0;
  review.words = [];
  // Of a text that is too long the beginning is not read.
  const cut = answer.truncated ? answer.words[0]?.start ?? text.length : 0;
  const fill = (element, from, to) => {
    const middle = Math.min(Math.max(cut, from), to);
    if (middle > from) element.append(make('span', { class: 'unread', title: 'not read: the text is too long' }, between(text.slice(from, middle))));
    element.append(between(text.slice(middle, to)));
  };
  const into = (element, end) => {
    const words = answer.words;
    while (at < words.length && words[at].start < end) {
      const word = words[at++];
      fill(element, into.from, word.start);
      const span = make('span', { class: ('w ' + shade(word.weight, strongest) + (word.known ? '' : ' unknown')).trim(), role: 'button', tabindex: '-1' }, text.slice(word.start, word.end));
      span.dataset.place = review.words.length;
      span.dataset.weight = word.weight;
      review.words.push({ span, word, row: rows.length });
      element.append(span);
      into.from = word.end;
    }
    fill(element, into.from, end);
    into.from = end;
  };
  into.from = 0;
  answer.sentences.forEach((sentence, place) => {
    const line = make('p');
    // What stands between two sentences goes with the later one.
    const last = place === answer.sentences.length - 1;
    into(line, last ? text.length : sentence.end);
    const positive = sentence.probabilities.positive;
    const bar = make('i', { class: positive < 0.5 ? 'negative' : 'positive' });
    bar.style.width = 100 * Math.abs(positive - 0.5) + '%';
    const ink = sentence.label === 'uncertain' ? '' : sentence.label + '-ink';
    const margin = make('div', { class: 'margin' }, make('span', {}, make('b', { class: ink }, sentence.label), ' ' + percent(sentence.score)), make('span', { class: 'mini', 'aria-hidden': 'true' }, bar));
    rows.push(make('div', { class: 'sentence' }, margin, line));
  });
  $('sentences').replaceChildren(...rows);
  $('why').hidden = !rows.length;
  review.at = 0;
  review.words[0]?.span.setAttribute('tabindex', '0');
  $('reading').textContent = 'Point at a word, or go through them with the arrow keys, to see how much it pushed.';
}

/** What stands between two words: HTML line breaks are shown as what they mean. */
const between = gap => gap.replace(/<br\s*\/?>/gi, ' ');

function showStrongest(text, words) {
  const known = words.filter(word => /[\p{L}\p{N}]/u.test(text.slice(word.start, word.end)));
  const largest = Math.max(...known.map(word => Math.abs(word.weight)), STRONG);
  for (const [side, sign] of [['positive', 1], ['negative', -1]]) {
    const best = known.filter(word => sign * word.weight > 0.005).sort((a, b) => sign * (b.weight - a.weight)).slice(0, 5);
    const items = best.map(word => {
      const stick = make('span', { class: 'stick ' + (sign > 0 ? 'up' : 'down'), 'aria-hidden': 'true' });
      stick.style.width = 100 * Math.abs(word.weight) / largest + '%';
      return make('li', {}, make('span', { class: 'word' }, text.slice(word.start, word.end)), stick, make('span', { class: 'figure' }, signed(word.weight)));
    });
    $('strongest-' + side).replaceChildren(...(items.length ? items : [make('li', {}, 'nothing')]));
  }
}

function go(place, focus) {
  const next = review.words[place];
  if (!next) return;
  review.words[review.at]?.span.setAttribute('tabindex', '-1');
  next.span.setAttribute('tabindex', '0');
  review.at = place;
  if (focus) next.span.focus();
}

const placeOf = event => event.target.closest?.('.w[data-place]')?.dataset.place;

$('sentences').addEventListener('keydown', event => {
  const place = placeOf(event);
  if (place === undefined) return;
  const row = review.words[place].row;
  const inRow = wanted => review.words.findIndex(word => word.row === wanted);
  const to = {
    ArrowRight: () => +place + 1, ArrowLeft: () => +place - 1, ArrowDown: () => inRow(row + 1), ArrowUp: () => inRow(row - 1),
    Home: () => 0, End: () => review.words.length - 1,
  }[event.key];
  if (to) { event.preventDefault(); go(to(), true); }
});
$('sentences').addEventListener('focusin', event => {
  const place = placeOf(event);
  if (place === undefined) return;
  go(+place, false);
  const { span, word } = review.words[place];
  $('reading').textContent = '“' + span.textContent + '” ' + effect(word);
  light(review.words[place].row);
});
$('sentences').addEventListener('pointerover', event => {
  const place = placeOf(event);
  if (place === undefined) return;
  const { span, word, row } = review.words[place];
  const tip = $('tip'), rect = span.getBoundingClientRect();
  tip.textContent = effect(word);
  tip.hidden = false;
  tip.style.left = Math.max(4, Math.min(rect.left, innerWidth - tip.offsetWidth - 4)) + 'px';
  tip.style.top = (rect.top > 40 ? rect.top - tip.offsetHeight - 6 : rect.bottom + 6) + 'px';
  light(row);
});
$('sentences').addEventListener('pointerout', () => { $('tip').hidden = true; light(-1); });
$('sentences').addEventListener('focusout', () => light(-1));
addEventListener('scroll', () => { $('tip').hidden = true; }, { passive: true });

/** Marks a sentence and its point on the curve. */
function light(row) {
  document.querySelectorAll('.sentence').forEach((element, place) => element.classList.toggle('lit', place === row));
  document.querySelectorAll('#curve .dot').forEach(dot => dot.classList.toggle('lit', +dot.dataset.sentence === row));
}

function showCurve(text, answer) {
  const points = answer.trajectory ?? [];
  $('read').hidden = points.length < 2;
  if (points.length < 2) return;
  const [width, height, left, right, top, bottom] = [Math.max(320, Math.min($('sentences').clientWidth || 900, 1000)), 220, 44, 14, 12, 38];
  const x = place => left + (width - left - right) * (points.length > 1 ? place / (points.length - 1) : 0.5);
  const y = p => top + (height - top - bottom) * (1 - p);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' });
  const spoken = points.map((point, place) => (place + 1) + ': ' + percent(point.positive)).join(', ');
  svg.setAttribute('aria-label', 'Probability of positive after each sentence. ' + spoken);
  for (const p of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(draw('line', { x1: left, x2: width - right, y1: y(p), y2: y(p), class: p === 0.5 ? 'half' : 'axis' }),
      draw('text', { x: left - 8, y: y(p) + 4, 'text-anchor': 'end' }, 100 * p + ' %'));
  }
  const every = Math.ceil(points.length / Math.max(4, Math.floor(width / 56)));
  svg.append(draw('path', { class: 'path', d: points.map((point, place) => (place ? 'L' : 'M') + x(place).toFixed(1) + ' ' + y(point.positive).toFixed(1)).join('') }));
  points.forEach((point, place) => {
    const sentence = answer.sentences.findIndex(other => other.end >= point.end);
    if (place % every === 0) svg.append(draw('text', { x: x(place), y: height - 18, 'text-anchor': 'middle' }, sentence + 1));
    const dot = draw('circle', { cx: x(place), cy: y(point.positive), r: 6, class: 'dot ' + (point.positive < 0.5 ? 'negative' : 'positive'), 'data-sentence': sentence });
    dot.append(draw('title', {}, percent(point.positive) + ' after: ' + text.slice(answer.sentences[sentence]?.start ?? 0, point.end)));
    dot.addEventListener('pointerenter', () => light(sentence));
    dot.addEventListener('pointerleave', () => light(-1));
    svg.append(dot);
  });
  svg.append(draw('text', { x: (left + width - right) / 2, y: height - 2, 'text-anchor': 'middle' }, 'sentence'));
  $('curve').replaceChildren(svg);
}

rest('Waiting for a text');

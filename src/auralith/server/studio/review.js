// The page of a review: one item with both its sides, its decision, and beside it how far everybody is.
import { keepKey } from './api.js';
import { Compare } from './sides.js';
import { Component, createRef, html, render } from './html.js';
import { Reviewing, VIEWS, words } from './reviewing.js';
import { listen } from './reviewkeys.js';

const KEYS = { keep: 'K', remove: 'X', unsure: '?' };

class Page extends Component {
  reviewing = new Reviewing();

  componentDidMount() {
    this.reviewing.addEventListener('change', () => this.setState({}));
    listen(this.reviewing);
    this.reviewing.start();
  }

  render() {
    const { reviewing } = this;
    const { status, announced, needsKey, rules } = reviewing.state;
    return html`<header><h1>Auralith <b>Review</b></h1>
        ${rules && reviewing.reviewer && html`<${Who} reviewing=${reviewing} />`}</header>
      <p role="status" class="status">${status}</p><p role="status" class="hidden">${announced}</p>
      ${needsKey && html`<${Ask} id="key" label="API key" type="password" button="Use it" onAnswer=${(key) => { keepKey(key); reviewing.start(); }} />`}
      ${rules && !reviewing.reviewer && html`<${Welcome} reviewing=${reviewing} />`}
      ${rules && reviewing.reviewer && html`<main class="review">
        <div><${Item} reviewing=${reviewing} /></div>
        <div class="aside"><${Progress} reviewing=${reviewing} /><${List} reviewing=${reviewing} /><${Help} /></div></main>`}`;
  }
}

function Ask({ id, label, type = 'text', button, list = null, onAnswer }) {
  const submitted = (event) => {
    event.preventDefault();
    const answer = event.target.elements[id].value.trim();
    if (answer) onAnswer(answer);
  };
  return html`<form class="row ask" onSubmit=${submitted}><div class="field"><label for=${id}>${label}</label>
    <input id=${id} type=${type} list=${list} required maxlength="100" autocomplete=${type === 'password' ? 'current-password' : 'name'} autofocus /></div>
    <button type="submit" class="primary">${button}</button></form>`;
}

function Welcome({ reviewing }) {
  return html`<section class="card welcome" aria-labelledby="welcome"><h2 id="welcome">Who decides?</h2>
    <p>Two people decide on each item, without seeing the other's answer; where they differ, a third one does.
      Use one name, always the same.</p>
    <${Ask} id="reviewer" label="Your name" button="Begin" list="names" onAnswer=${(name) => reviewing.name(name)} />
    <datalist id="names">${reviewing.state.names.map((name) => html`<option key=${name} value=${name} />`)}</datalist></section>`;
}

function Who({ reviewing }) {
  const { view, stages, stage } = reviewing.state;
  const conflicts = Object.values(stages).reduce((sum, one) => sum + one.conflicts, 0);
  const names = Object.keys(stages);
  return html`<nav class="views" aria-label="Lists">${VIEWS.map(([name, label]) => html`<button type="button" key=${name}
      aria-pressed=${view === name} onClick=${() => reviewing.look(name)}>${label}${name === 'conflicts' && conflicts > 0
        ? html` <b class="count">${conflicts}</b>` : ''}</button>`)}</nav>
    ${names.length > 1 && html`<label class="stage">Step <select value=${stage} onChange=${(event) => reviewing.look(view, event.target.value)}>
      <option value="">all</option>${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>`}
    <span class="who">${reviewing.reviewer} <button type="button" class="plain" onClick=${() => reviewing.name('')}>Change</button></span>`;
}

function Item({ reviewing }) {
  const { item, isDone, view, items } = reviewing.state;
  if (!item) {
    if (!isDone) return html`<section class="card empty"><p>Reading …</p></section>`;
    const isSkipped = view === 'open' && items.length > 0;
    const text = { open: 'Nothing is left for you to decide.', conflicts: 'No conflict is left that you may settle.', decided: 'You have decided nothing yet.' };
    return html`<section class="card empty"><p>${isSkipped ? `Only what you skipped is left: ${items.length}.` : text[view]}</p>
      ${isSkipped && html`<button type="button" onClick=${() => reviewing.again()}>Take it up again</button>`}</section>`;
  }
  const score = item.score === null ? '' : `, score ${short(item.score)}`;
  return html`<section class="card item" aria-labelledby="title">
    <div class="head"><h2 id="title">${item.suspect.title || item.rec_id}</h2>
      <p class="facts">${item.stage} · <span class="tier">${item.tier}</span>${score}${item.grouped_by ? ` · ${item.grouped_by}` : ''}</p></div>
    <${State} item=${item} />
    <${Compare} key=${item.id} reviewing=${reviewing} item=${item} />
    <${Decide} reviewing=${reviewing} item=${item} />
    <${Facts} item=${item} match=${reviewing.listening.state.match} />
    <${Evidence} key=${`evidence ${item.id}`} item=${item} />
  </section>`;
}

/** What must be known before deciding: that it is a conflict, or what was decided. */
function State({ item }) {
  const { own, state, decisions, role } = item;
  if (state !== 'open') {
    return html`<div class="note"><p>Settled: <b>${state}</b>.${item.may_replace ? ' You may still replace your decision.' : ''}</p>
      <ul>${decisions.map((one) => html`<li key=${one.role}>${one.reviewer}: ${one.decision}${one.reason ? `, ${words(one.reason)}` : ''}${
        one.note ? html` — <q>${one.note}</q>` : ''}</li>`)}</ul></div>`;
  }
  if (own) {
    return html`<p class="note">You decided <b>${own.decision}</b>${own.reason ? `, ${words(own.reason)}` : ''}.
      ${item.may_replace ? ' Decide again to replace it; N goes on.' : ''}</p>`;
  }
  if (role === 'third') return html`<p class="note conflict">Two people decided differently, or were not sure. You settle it.</p>`;
  return null;
}

class Decide extends Component {
  render({ reviewing, item }) {
    const { rules, choice, note, isSending } = reviewing.state;
    const usual = choice && reviewing.usual(choice, item.stage);
    return html`<section class="decide" aria-labelledby="decide">
      <h3 id="decide" class="hidden">Decide</h3>
      <div class="choices">${Object.keys(rules).map((name) => html`<button type="button" key=${name} class=${`choice ${name}`}
        aria-pressed=${choice === name} disabled=${!reviewing.mayDecide(name)} onClick=${() => reviewing.choose(name)}>
        ${title(name)} <kbd>${KEYS[name] ?? ''}</kbd></button>`)}
        <button type="button" onClick=${() => reviewing.undo()}>Undo <kbd>U</kbd></button>
        <button type="button" onClick=${() => reviewing.skip()}>Skip <kbd>N</kbd></button>
        <label class="field wide"><span class="hidden">Note</span><input id="note" value=${note} maxlength="4000" placeholder="Note (C)"
          disabled=${isSending} onInput=${(event) => reviewing.change({ note: event.target.value })} /></label></div>
      ${choice && html`<fieldset class="reasons"><legend>Why ${choice}?</legend>${rules[choice].map((code, i) => html`<button type="button"
        key=${code} class=${code === usual ? 'usual' : ''} onClick=${() => reviewing.reason(i)}><kbd>${i + 1}</kbd> ${words(code)}${
        code === usual ? html` <kbd>Enter</kbd>` : ''}</button>`)}</fieldset>`}
    </section>`;
  }
}

const ROWS = [['title', 'Title'], ['author', 'Artist'], ['album', 'Album'], ['license', 'License'], ['url', 'Page'], ['seconds', 'Length'], ['id', 'Id']];

function Facts({ item, match }) {
  const sides = [item.suspect, ...item.matches.slice(match, match + 1)];
  const names = [...new Set(sides.flatMap((side) => Object.keys(side.facts)))];
  const isKnown = (name) => sides.some((side) => side[name] !== '' && side[name] !== null);
  const same = (name) => sides.length > 1 && sides[0][name] && String(sides[0][name]).toLowerCase() === String(sides[1][name]).toLowerCase();
  return html`<table class="facts"><caption class="hidden">What is known of both</caption>
    <thead><tr><td></td><th scope="col">Suspect</th>${sides.length > 1 && html`<th scope="col">Match</th>`}</tr></thead>
    <tbody>${ROWS.filter(([name]) => isKnown(name)).map(([name, label]) => html`<tr key=${name} class=${same(name) ? 'same' : ''}>
        <th scope="row">${label}</th>${sides.map((side, i) => html`<td key=${i}><${Value} name=${name} value=${side[name]} /></td>`)}</tr>`)}
      ${names.map((name) => html`<tr key=${`fact ${name}`}><th scope="row">${title(words(name))}</th>${
        sides.map((side, i) => html`<td key=${i}><${Value} value=${side.facts[name] ?? null} /></td>`)}</tr>`)}</tbody></table>`;
}

function Value({ name, value }) {
  if (value === null || value === '') return html`<span class="none" aria-label="not known">–</span>`;
  if (name === 'url') return html`<a href=${value} target="_blank" rel="noopener noreferrer">${value}</a>`;
  if (name === 'seconds') return `${Math.floor(value / 60)}:${(value % 60).toFixed(1).padStart(4, '0')}`;
  return html`<bdi>${typeof value === 'number' ? short(value) : typeof value === 'object' ? flat(value) : String(value)}</bdi>`;
}

const FIRST = ['reason_code', 'status', 'verdict', 'score', 'answer', 'tier']; // what an item is judged by, before how it was found

/** The evidence as the step found it; an item without a match is judged by it. */
function Evidence({ item }) {
  const rank = ([name]) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const entries = Object.entries(item.evidence).filter(([, value]) => value !== null && value !== '').sort((a, b) => rank(a) - rank(b));
  return html`<details class="evidence" open=${item.matches.length === 0}><summary>Evidence</summary>
    <dl>${entries.map(([name, value]) => html`<div key=${name}><dt>${words(name)}</dt><dd><${Value} value=${value} /></dd></div>`)}</dl></details>`;
}

function Progress({ reviewing }) {
  const { stages, agreement, isContinuous } = reviewing.state;
  const all = Object.values(stages);
  const sum = (name) => all.reduce((total, one) => total + one[name], 0);
  const { pace } = reviewing;
  const kappas = agreement.filter((one) => one.items > 0);
  return html`<section class="card" aria-labelledby="progress"><h2 id="progress">Progress</h2>
    <label class="progress"><span>${sum('settled')} of ${sum('total')} settled</span><progress max=${sum('total') || 1} value=${sum('settled')}></progress></label>
    <p class="facts"><b>${sum('left')}</b> left for you${sum('conflicts') ? `, ${sum('conflicts')} in conflict` : ''}${pace ? `, ${pace} an hour` : ''}</p>
    ${kappas.length > 0 && html`<table class="facts"><caption>Agreement of first and second decisions</caption>
      <thead><tr><th scope="col">Step</th><th scope="col">Items</th><th scope="col">Cohen's κ</th></tr></thead>
      <tbody>${kappas.map((one) => html`<tr key=${one.stage}><th scope="row">${one.stage}</th><td>${one.items}</td>
        <td>${one.kappa === null ? 'undefined' : one.kappa.toFixed(2)}</td></tr>`)}</tbody></table>`}
    <label class="check"><input type="checkbox" checked=${isContinuous} onChange=${(event) => reviewing.change({ isContinuous: event.target.checked })} />
      Play the next item at once</label></section>`;
}

const MOST = 12;

class List extends Component {
  place = createRef();

  render({ reviewing }) {
    const { items, total, item, view } = reviewing.state;
    if (!items.length) return null;
    const at = Math.max(0, items.findIndex((one) => one.id === item?.id));
    const part = items.slice(Math.max(0, Math.min(at - 2, items.length - MOST)), Math.max(at - 2 + MOST, MOST));
    const [, label] = VIEWS.find(([name]) => name === view);
    return html`<section class="card list" aria-labelledby="list"><h2 id="list">${label}, ${total}</h2>
      <ol>${part.map((one) => html`<li key=${one.id}><button type="button" class="plain" aria-current=${one.id === item?.id ? 'true' : null}
        onClick=${() => reviewing.show(one.id)}><span><bdi>${one.title}</bdi></span>
        <small>${one.stage} ${one.tier}${one.decision && view === 'decided' ? `, ${one.decision}` : ''}</small></button></li>`)}</ol></section>`;
  }
}

const SHORTCUTS = [
  ['Space', 'play, pause'], ['A B', 'hear suspect, match'], ['S', 'hear the other'], ['← →', 'a second back, on; Shift: five'], ['L', 'loop the selection'],
  ['[ ]', 'earlier, later in both sounds'], ['M', 'next match'], ['K X ?', 'keep, remove, unsure'], ['1–9', 'reason'], ['Enter', 'the usual reason'],
  ['C', 'write a note; Esc leaves it'], ['U', 'undo: back to your last'], ['N', 'skip'],
];

function Help() {
  return html`<details class="card help"><summary>Keys</summary><dl>${SHORTCUTS.map(([keys, text]) => html`<div key=${keys}><dt>${
    keys.split(' ').map((key) => html`<kbd key=${key}>${key}</kbd> `)}</dt><dd>${text}</dd></div>`)}</dl></details>`;
}

function flat(value) {
  if (Array.isArray(value)) return value.map((one) => (one !== null && typeof one === 'object' ? flat(one) : one)).join(', ');
  return Object.entries(value).filter(([, one]) => one !== null).map(([name, one]) => `${words(name)} ${
    typeof one === 'number' ? short(one) : typeof one === 'object' ? flat(one) : one}`).join(', ');
}

function short(number) {
  if (Number.isInteger(number)) return String(number);
  return Math.abs(number) < 0.001 ? number.toExponential(1) : String(Number(number.toFixed(3)));
}

function title(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

render(html`<${Page} />`, document.body);

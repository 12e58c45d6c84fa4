// A review: what is open for one person, the item that is shown, and what they decide. The server keeps all of it.
import { get } from './api.js';
import { Listening } from './listening.js';
import { Store } from './store.js';

const NAME = 'auralith-reviewer';
const REASONS = 'auralith-reasons';
const AHEAD = 2; // items that are fetched before they are asked for
const HOUR = 3_600_000; // milliseconds
export const VIEWS = [['open', 'Queue'], ['conflicts', 'Conflicts'], ['decided', 'Decided']];

const EMPTY = {
  rules: null, names: [], status: '', announced: '', needsKey: false, view: 'open', stage: '', items: [], total: 0, item: null, isDone: false,
  choice: null, note: '', isSending: false, stages: {}, agreement: [], isContinuous: true,
};

export class Reviewing extends Store {
  reviewer = localStorage.getItem(NAME) ?? '';
  listening = new Listening(this);
  #target = null; // id of the item that is shown, or will be once it is there
  #skipped = new Set();
  #decided = []; // ids, the latest last, for undo
  #ahead = new Map(); // id → promise of an item with its sounds
  #times = []; // of decisions, for the pace

  constructor() {
    super(EMPTY);
    for (const name of ['start', 'show', 'decide', 'undo', 'list', 'look']) this[name] = this.guarded(this[name].bind(this));
  }

  /** Read the rules, and the queue of whoever said their name. */
  async start() {
    const { decisions } = await get('/v1/review');
    const { reviewers } = await get('/v1/review/reviewers');
    this.change({ rules: decisions, names: reviewers.map(({ name }) => name), needsKey: false });
    if (this.reviewer) await this.look('open');
  }

  name(name) {
    this.reviewer = name;
    localStorage.setItem(NAME, name);
    this.#skipped.clear();
    this.#decided = [];
    this.#ahead.clear();
    this.#times = [];
    this.#target = null;
    this.change({ item: null, items: [], view: 'open' });
    return name ? this.look('open') : null;
  }

  /** Show another list, from its beginning. */
  async look(view, stage = this.state.stage) {
    this.change({ view, stage });
    await this.list();
    const first = this.#next();
    if (first) await this.show(first);
    else this.#finish();
  }

  async list() {
    const { view, stage } = this.state;
    const query = new URLSearchParams({ reviewer: this.reviewer, view, ...(stage ? { stage } : {}) });
    const who = new URLSearchParams({ reviewer: this.reviewer });
    const [{ items, total }, { stages }, agreement] = await Promise.all([
      get(`/v1/review/items?${query}`), get(`/v1/review/progress?${who}`), get('/v1/review/agreement')]);
    this.change({ items, total, stages, agreement: agreement.stages });
  }

  /** Show an item by its id. */
  async show(id) {
    this.#target = id;
    const found = await this.#fetch(id);
    if (this.#target !== id) return; // another one was asked for since
    this.#ahead.delete(id);
    const { item } = found;
    const own = item.own;
    this.change({ item, isDone: false, choice: null, note: own?.note ?? '' });
    this.listening.take(found);
    const title = isolated(item.suspect.title || item.rec_id);
    this.#announce(own ? `${title}: you decided ${own.decision}` : `${title}, ${item.stage} ${item.tier}`);
    this.#fetchAhead(id);
  }

  /** Read a line to those who do not see the page change. */
  #announce(announced) {
    this.change({ announced, status: '' });
  }

  skip() {
    if (!this.#target || this.state.isSending) return null;
    this.#skipped.add(this.#target);
    return this.#proceed(this.#target);
  }

  /** Choose what to decide; unsure needs no reason. */
  choose(choice) {
    const { item, rules } = this.state;
    if (!item || !this.mayDecide(choice)) return null;
    if (!rules[choice].length) return this.decide(choice, null);
    this.change({ choice });
    this.#announce(`${choice}: ${rules[choice].map((code, i) => `${i + 1} ${words(code)}`).join(', ')}`);
    return null;
  }

  mayDecide(choice) {
    const { item, isSending } = this.state;
    const role = item?.own?.role ?? item?.role;
    const isFree = Boolean(item?.may_decide || item?.may_replace) && item.id === this.#target && !isSending;
    return isFree && !(choice === 'unsure' && role === 'third');
  }

  /** Decide for a reason by its place among those of the choice; without one, for the last one that was given. */
  reason(place = null) {
    const { choice, rules, item } = this.state;
    if (!choice) return null;
    const code = place === null ? this.usual(choice, item.stage) : rules[choice][place];
    return code ? this.decide(choice, code) : null;
  }

  /** Return the reason that was given last for a choice in a stage. */
  usual(choice, stage) {
    return JSON.parse(localStorage.getItem(REASONS) ?? '{}')[`${stage} ${choice}`] ?? null;
  }

  async decide(decision, reason) {
    const { item, note } = this.state;
    if (!this.mayDecide(decision)) return;
    this.change({ isSending: true });
    try {
      const body = { reviewer: this.reviewer, decision, reason, note, ...(item.own ? { replaces: item.own.revision } : {}) };
      const headers = { 'Content-Type': 'application/json' };
      await get(`/v1/review/items/${item.id}/decisions`, { method: 'POST', headers, body: JSON.stringify(body) });
    } catch (error) {
      if (error.status !== 409 || !(await this.#isRecorded(item.id, decision, reason))) {
        if (error.status === 409) this.#ahead.clear();
        throw error;
      }
    } finally {
      this.change({ isSending: false });
    }
    this.#remember(item, decision, reason);
    await this.#proceed(item.id);
    this.list(); // which nobody waits for
  }

  /** Return whether the server has this very decision: its answer may have been lost. */
  async #isRecorded(id, decision, reason) {
    const item = await get(`/v1/review/items/${id}?${new URLSearchParams({ reviewer: this.reviewer })}`);
    this.change({ item, choice: null });
    return item.own?.decision === decision && item.own.reason === reason;
  }

  #remember(item, decision, reason) {
    const reasons = JSON.parse(localStorage.getItem(REASONS) ?? '{}');
    if (reason) localStorage.setItem(REASONS, JSON.stringify({ ...reasons, [`${item.stage} ${decision}`]: reason }));
    this.#decided = [...this.#decided.filter((id) => id !== item.id), item.id];
    this.#times.push(Date.now());
  }

  /** Go back to the item that was decided last, to replace the decision. */
  async undo() {
    if (this.state.isSending) return;
    const last = this.#decided.pop() ?? (await this.#latest());
    if (!last) {
      this.say('you have decided nothing yet');
      return;
    }
    await this.show(last);
    const { item } = this.state;
    if (!item.may_replace) this.say('another person has settled it since; its decisions stay');
  }

  async #latest() {
    const query = new URLSearchParams({ reviewer: this.reviewer, view: 'decided', limit: 1 });
    return (await get(`/v1/review/items?${query}`)).items[0]?.id;
  }

  /** Return how many items an hour are decided, over the last ten; null before there are three. */
  get pace() {
    const times = this.#times.slice(-10);
    return times.length < 3 ? null : Math.round(((times.length - 1) * HOUR) / (times.at(-1) - times[0]));
  }

  /** Show the item after one, which is no longer in the list if it was decided. */
  async #proceed(from) {
    const next = this.#next(from);
    const { items, view, item } = this.state;
    const isDone = view !== 'decided' && item?.id === from && this.#decided.at(-1) === from;
    if (isDone) this.change({ items: items.filter(({ id }) => id !== from) });
    if (next) await this.show(next);
    else this.#finish();
    if (next && this.state.isContinuous) this.listening.play();
  }

  #finish() {
    this.#target = null;
    this.listening.clear();
    this.change({ item: null, isDone: true });
    const skipped = this.state.view === 'open' ? this.state.items.length : 0;
    this.say(skipped ? `only what you skipped is left: ${skipped}` : 'nothing is left for you here');
  }

  /** Return the item after one in the list, from its beginning at its end; what was skipped is left out. */
  #next(from = null) {
    const ids = this.state.items.map(({ id }) => id);
    const at = ids.indexOf(from) + 1;
    return [...ids.slice(at), ...ids.slice(0, at)].find((id) => id !== from && !this.#skipped.has(id)) ?? null;
  }

  /** Take up again what was skipped. */
  again() {
    this.#skipped.clear();
    return this.look(this.state.view);
  }

  #fetch(id) {
    if (!this.#ahead.has(id)) {
      const found = this.#read(id);
      found.catch(() => this.#ahead.delete(id));
      this.#ahead.set(id, found);
    }
    return this.#ahead.get(id);
  }

  async #read(id) {
    const item = await get(`/v1/review/items/${id}?${new URLSearchParams({ reviewer: this.reviewer })}`);
    return { item, sounds: await this.listening.read(item) };
  }

  #fetchAhead(id) {
    const ids = this.state.items.map((one) => one.id).filter((one) => one !== id && !this.#skipped.has(one));
    const at = this.state.items.findIndex((one) => one.id === id);
    const next = ids.slice(Math.max(0, at), Math.max(0, at) + AHEAD);
    for (const old of this.#ahead.keys()) if (!next.includes(old)) this.#ahead.delete(old);
    next.forEach((one) => this.#fetch(one).catch(() => {}));
  }
}

/** Return a text of strangers, whose direction and its changes end with it. */
function isolated(text) {
  return `\u2068${text}\u2069`;
}

/** Return a code as words. */
export function words(code) {
  return code.replaceAll('_', ' ');
}

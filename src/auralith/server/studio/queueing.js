// Sets of prompts: their rows become jobs as the queue has room; the server keeps the jobs under the label of the set.
import { call, get, submit, token } from './api.js';
import { isFinal } from './jobs.js';
import { modelOf, number, toRequest } from './request.js';
import { save } from './sounds.js';
import { readTable } from './table.js';

const KEPT = 'auralith-sets'; // rows that were not sent yet, by the label of their set, in the browser
const PAGE = 200;
const TICK = 1500; // milliseconds between two looks at jobs that are being made
const LOOKED_AT = 8; // jobs at a time
const LONGEST_WAIT = 30; // seconds before a full queue is asked again
const LOST = 5; // seconds before a server that doesn't answer is
const BETWEEN_FILES = 250; // milliseconds, so that browsers take them all

export const QUEUEING = { set: null, collected: [], draft: { label: '', text: '', n: '4', problem: '' }, feeding: '' };

export class Queueing {
  #studio;
  #isFeeding = false;
  #timer = 0;

  constructor(studio) {
    this.#studio = studio;
    for (const name of ['begin', 'open', 'take', 'stop', 'saveStarred']) this[name] = studio.guarded(this[name].bind(this));
  }

  /** Go on with what an earlier visit left. */
  resume() {
    this.#feed();
  }

  /** Return the sets that are known here, the newest first: this browser's, and those of the jobs that are listed. */
  get labels() {
    const listed = this.#studio.state.jobs.map((job) => job.request.label).filter(Boolean);
    return [...new Set([...Object.keys(kept()).reverse(), ...listed])];
  }

  /** Return the rows of the open set: {prompt, n, job}, or {prompt, n, problem} where it was not sent. */
  get rows() {
    const { set, collected } = this.#studio.state;
    const sent = this.#now(collected).map((job) => ({ id: job.id, prompt: job.request.prompt, n: job.request.n, job }));
    const waiting = (kept()[set] ?? []).map(({ key, request, problem }) => ({ id: key, prompt: request.prompt, n: request.n, problem }));
    return [...sent, ...waiting];
  }

  setDraft(values) {
    this.#studio.change({ draft: { ...this.#studio.state.draft, problem: '', ...values } });
  }

  /** Put a text file into the draft. */
  async take(file) {
    this.setDraft({ text: await file.text(), label: file.name.replace(/\.\w+$/, '').slice(0, 100) });
    this.#studio.say(`${file.name} is there: make a set of it`);
    document.getElementById('set-text')?.focus();
  }

  /** Make a set of the draft: with the settings of the form, except what its rows say. */
  async begin() {
    const { draft, form } = this.#studio.state;
    const { settings } = modelOf(this.#studio.state);
    let rows;
    try {
      rows = readTable(draft.text, settings);
    } catch (error) {
      this.setDraft({ problem: error.message });
      return;
    }
    const label = draft.label.trim() || `Set of ${new Date().toLocaleString('sv').slice(0, 16)}`;
    const shared = toRequest({ ...form, prompt: '' }, settings);
    const queued = rows.map((row) => ({ key: `set-${token()}`, request: { ...shared, n: number(draft.n), ...row, label } }));
    keep({ ...kept(), [label]: [...(kept()[label] ?? []), ...queued] });
    this.setDraft({ text: '', label: '' });
    await this.open(label);
    this.#feed();
  }

  /** Show a set: its jobs from the server, and the rows that wait in this browser. */
  async open(label) {
    this.#studio.change({ set: label, collected: [] });
    const jobs = [];
    for (let cursor = ''; cursor !== null;) {
      const query = new URLSearchParams({ search: label, limit: PAGE, ...(cursor ? { cursor } : {}) });
      const page = await get(`/v1/jobs?${query}`);
      jobs.push(...page.jobs.filter((job) => job.request.label === label));
      cursor = page.cursor;
    }
    if (this.#studio.state.set !== label) return;
    this.#studio.change({ collected: jobs.reverse() });
    document.getElementById('set-title')?.focus();
    this.#look();
  }

  close() {
    clearTimeout(this.#timer);
    this.#studio.change({ set: null, collected: [] });
  }

  /** Send no further rows of the open set, and cancel its jobs that have not ended. */
  async stop() {
    const { set, collected } = this.#studio.state;
    keep({ ...kept(), [set]: [] });
    const open = this.#now(collected).filter((job) => !isFinal(job));
    await Promise.all(open.map((job) => call(`/v1/jobs/${job.id}`, { method: 'DELETE' })));
    this.#studio.say(`${open.length} jobs of the set were cancelled`);
    this.#look();
  }

  /** Play a sound of the set from its beginning. */
  play(job, index) {
    const { sounds } = this.#studio;
    const { id } = job.outputs[index];
    const begin = () => {
      if (sounds.sound?.id === id && !sounds.buffer) return; // it is being read
      this.#studio.removeEventListener('change', begin);
      if (sounds.sound?.id !== id) return; // another one was chosen
      sounds.player.load(sounds.buffer);
      sounds.player.currentTime = 0;
      sounds.player.play();
    };
    sounds.open(job, index);
    this.#studio.addEventListener('change', begin);
    begin();
  }

  /** Return the starred sounds of the open set: {sound, row, index, prompt}. */
  get starred() {
    return this.rows.flatMap(({ job, prompt }, row) => (job?.outputs ?? []).map((sound, index) => ({ sound, row, index, prompt })))
      .filter(({ sound }) => sound.is_starred);
  }

  /** Save every starred sound of the set as a file of its own. */
  async saveStarred() {
    for (const { sound, row, index, prompt } of this.starred) {
      const response = await call(sound.url);
      const suffix = /\.(\w+)"/.exec(response.headers.get('Content-Disposition'))?.[1] ?? 'wav';
      const words = prompt.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '').slice(0, 40);
      save(await response.blob(), [String(row + 1).padStart(3, '0'), index + 1, words].filter(Boolean).join('-') + `.${suffix}`);
      await pause(BETWEEN_FILES);
    }
  }

  /** Return jobs as the page knows them now. */
  #now(jobs) {
    const known = new Map(this.#studio.state.jobs.map((job) => [job.id, job]));
    return jobs.map((job) => (isFinal(job) ? job : (known.get(job.id) ?? job)));
  }

  /** Look again at jobs of the open set until all have ended. */
  async #look() {
    clearTimeout(this.#timer);
    const { set } = this.#studio.state;
    if (set === null) return;
    const open = this.#studio.state.collected.filter((job) => !isFinal(job)).slice(0, LOOKED_AT);
    const looked = await Promise.all(open.map((job) => get(`/v1/jobs/${job.id}`).catch((error) => (error.status === 404 ? null : job))));
    const found = new Map(open.map((job, i) => [job.id, looked[i]]));
    if (this.#studio.state.set !== set) return;
    const { collected } = this.#studio.state;
    this.#studio.change({ collected: collected.map((job) => (found.has(job.id) ? found.get(job.id) : job)).filter(Boolean) });
    const isOver = this.#studio.state.collected.every(isFinal) && !(kept()[set] ?? []).some((row) => !row.problem);
    if (!isOver) this.#timer = setTimeout(() => this.#look(), TICK);
  }

  /** Send what waits, a row after another; where the queue is full, when it may have room. */
  async #feed() {
    if (this.#isFeeding) return;
    this.#isFeeding = true;
    try {
      for (let next = waiting(); next; next = waiting()) {
        const seconds = await this.#send(...next);
        if (seconds === null) return;
        if (seconds > 0) await pause(seconds * 1000);
      }
    } finally {
      this.#isFeeding = false;
    }
  }

  /** Send a row; return the seconds until the next one, or null where nothing can be sent. */
  async #send(label, row) {
    try {
      const job = await submit(row.request, row.key); // the same key: sent twice it is still one job
      this.#studio.jobs.take(job);
      const rows = (kept()[label] ?? []).filter((one) => one.key !== row.key);
      keep({ ...kept(), [label]: rows });
      const { set, collected } = this.#studio.state;
      const isNew = set === label && !collected.some((one) => one.id === job.id);
      this.#studio.change({ feeding: '', ...(isNew ? { collected: [...collected, job] } : {}) });
      return 0;
    } catch (error) {
      return this.#refused(label, row, error);
    }
  }

  #refused(label, row, error) {
    if (error.status === 401) {
      this.#studio.change({ needsKey: true, feeding: '' });
      return null;
    }
    if (error.status === 429) {
      const seconds = Math.max(1, Math.min(LONGEST_WAIT, Number(error.retryAfter ?? 1)));
      this.#studio.change({ feeding: `The queue is full; the next row goes in about ${seconds} s.` });
      return seconds;
    }
    if (!error.status || error.status >= 500) {
      this.#studio.change({ feeding: `${error.message}; trying again.` });
      return LOST;
    }
    const rows = (kept()[label] ?? []).map((one) => (one.key === row.key ? { ...one, problem: error.message } : one));
    keep({ ...kept(), [label]: rows });
    this.#studio.change({});
    return 0;
  }
}

let read = { text: '{}', sets: {} }; // what was parsed last

function kept() {
  const text = localStorage.getItem(KEPT) ?? '{}'; // another tab may have changed it
  if (text !== read.text) read = { text, sets: JSON.parse(text) };
  return read.sets;
}

function keep(sets) {
  localStorage.setItem(KEPT, JSON.stringify(sets));
}

/** Return the label and the row that is sent next. */
function waiting() {
  for (const [label, rows] of Object.entries(kept())) {
    const row = rows.find((one) => !one.problem);
    if (row) return [label, row];
  }
  return null;
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

// Jobs as the server has them: listed, followed, sent and removed.
import { call, events, get, keepSent, sent, submit } from './api.js';

const PAGE = 20;
const PAUSE = 1000; // milliseconds before a lost connection is tried again
const FINAL = ['succeeded', 'failed', 'cancelled'];

export const JOBS = { jobs: [], cursor: null, problem: null, retry: null, isSending: false, previews: {} };

export function isFinal(job) {
  return FINAL.includes(job.status);
}

/** Jobs of the server. Tells 'sounds' (detail: a job) when one of them has more sounds than before, 'preview' (detail: its id) on the way. */
export class Jobs extends EventTarget {
  #store;
  #watched = null;
  #timer = 0;
  #again = null;
  #isAuto = false;
  #expected = new Map(); // job → the file that it should make again

  constructor(store) {
    super();
    this.#store = store;
  }

  get #jobs() {
    return this.#store.state.jobs;
  }

  async refresh() {
    const { jobs, cursor } = await get(`/v1/jobs?limit=${PAGE}`);
    const known = new Set(jobs.map((job) => job.id));
    const last = jobs.at(-1)?.created_at ?? '';
    const older = this.#jobs.filter((job) => !known.has(job.id) && job.created_at < last);
    if (!older.length) this.#store.change({ cursor });
    this.#learn([...jobs, ...older]);
    this.#watch();
  }

  async older() {
    const { jobs, cursor } = await get(`/v1/jobs?limit=${PAGE}&cursor=${this.#store.state.cursor}`);
    const known = new Set(this.#jobs.map((job) => job.id));
    this.#store.change({ jobs: [...this.#jobs, ...jobs.filter((job) => !known.has(job.id))], cursor });
  }

  /** Send a request; what is wrong with it becomes the problem of the form. Of a file: the one that should come out. */
  async send(body, file = null) {
    if (this.#store.state.isSending) return;
    this.#clear();
    this.#store.change({ isSending: true, status: 'sent' });
    try {
      const job = await submit(body);
      this.#isAuto = false;
      keepSent(job.id);
      if (file) this.#expected.set(job.id, file);
      this.take(job);
      this.#store.say(`accepted, seed ${job.request.seed}`);
    } catch (error) {
      this.#store.change({ problem: error, status: '', needsKey: error.status === 401 });
      if (error.status === 429) this.#wait(Math.max(1, Number(error.retryAfter ?? 1)), () => this.send(body, file));
      this.#reveal(error.field ?? '');
    } finally {
      this.#store.change({ isSending: false });
    }
  }

  /** Take a job that was accepted into the list, and follow it. */
  take(job) {
    const others = this.#jobs.filter((one) => one.id !== job.id);
    this.#store.change({ jobs: [{ ...job, outputs: [] }, ...others] });
    this.#watch();
  }

  /** Send again what a full queue refused, as soon as there may be room. */
  retry() {
    this.#isAuto = true;
    this.#store.change({ retry: { ...this.#store.state.retry, isAuto: true } });
    if (this.#store.state.retry.seconds === 0) this.#again();
  }

  /** Leave what was refused. */
  giveUp() {
    this.#isAuto = false;
    this.#clear();
  }

  #clear() {
    clearInterval(this.#timer);
    this.#store.change({ problem: null, retry: null });
  }

  /** Cancel a job, or delete one that has ended. */
  async remove(job) {
    await call(`/v1/jobs/${job.id}`, { method: 'DELETE' });
    if (isFinal(job)) this.#store.change({ jobs: this.#jobs.filter((one) => one.id !== job.id) });
    await this.refresh();
  }

  /** Count the seconds until a queue may have room. Once asked to, the page goes on asking until it has. */
  #wait(seconds, again) {
    this.#again = again;
    this.#store.change({ retry: { seconds, isAuto: this.#isAuto } });
    this.#timer = setInterval(() => {
      const { retry } = this.#store.state;
      const left = retry.seconds - 1;
      this.#store.change({ retry: { ...retry, seconds: left } });
      if (left > 0) return;
      clearInterval(this.#timer);
      if (retry.isAuto) again();
    }, 1000);
  }

  /** Show the field that an error names, and put the focus there. */
  #reveal(name) {
    const field = document.getElementById(name);
    const fold = field?.closest('details');
    if (fold) fold.open = true;
    field?.focus();
  }

  /** Follow the job that runs next: one stream for a page, since browsers open few connections to a server. */
  async #watch() {
    const job = this.#jobs.findLast((one) => !isFinal(one));
    if (this.#watched || !job) return;
    this.#watched = job.id;
    let isLost = false;
    for (let after = '0'; ;) {
      try {
        let isOver = isFinal(await this.#update(job.id));
        if (isLost) this.#store.say('the connection is there again');
        isLost = false;
        for await (const event of isOver ? [] : events(job.id, after)) {
          after = event.id ?? after;
          if (event.kind === 'step') this.#step(job.id, event.data);
          else if (event.kind === 'preview') this.#preview(job.id, event.data);
          else isOver = isFinal(await this.#update(job.id));
          if (isOver) break;
        }
        if (isOver) break;
      } catch (error) {
        if (error.status === 404) break; // deleted
        isLost = true;
        this.#store.say('the connection is lost; trying again');
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    this.#watched = null;
    this.#store.change({ previews: {} }); // they are gone with their job
    await this.#store.guarded(() => this.refresh())();
  }

  #step(id, progress) {
    const jobs = this.#jobs.map((job) => (job.id === id ? { ...job, status: 'running', progress } : job));
    this.#store.change({ jobs });
  }

  #preview(id, { number, seconds, peaks }) {
    const preview = { id: `${id}-preview-${number}`, url: `/v1/jobs/${id}/preview/${number}`, seconds, peaks };
    this.#store.change({ previews: { ...this.#store.state.previews, [id]: preview } });
    this.dispatchEvent(new CustomEvent('preview', { detail: id }));
  }

  async #update(id) {
    const job = await get(`/v1/jobs/${id}`);
    this.#learn(this.#jobs.map((one) => (one.id === id ? job : one)));
    return job;
  }

  /** Take the jobs as they are now, and say what changed. */
  #learn(jobs) {
    const before = new Map(this.#jobs.map((job) => [job.id, job]));
    this.#store.change({ jobs });
    for (const job of jobs) {
      const old = before.get(job.id);
      if (!old || old === job) continue;
      if (old.status !== job.status) this.#store.say(`${job.request.prompt}: ${this.#outcome(job)}`);
      if (job.outputs.length > old.outputs.length) this.dispatchEvent(new CustomEvent('sounds', { detail: job }));
    }
  }

  #outcome(job) {
    const file = this.#expected.get(job.id);
    if (job.status !== 'succeeded' || !file) return job.status;
    const isSame = job.outputs[0].sha256 === file.sha256;
    return `succeeded, ${isSame ? 'the same file, byte for byte' : 'but not the same bytes: another model, device or version made that file'}`;
  }
}

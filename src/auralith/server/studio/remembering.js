// What the history shows: jobs as they come, or those that the server finds by words and stars.
import { get } from './api.js';
import { isFinal } from './jobs.js';

const PAGE = 20;
const PAUSE = 250; // milliseconds without a key before a search is sent

export const REMEMBERING = { search: '', isStarred: false, found: null };

export class Remembering {
  #studio;
  #timer = 0;
  #asked = 0;
  #isReading = false;

  constructor(studio) {
    this.#studio = studio;
    for (const name of ['find', 'more', 'star', 'openSource']) this[name] = studio.guarded(this[name].bind(this));
  }

  /** Return the jobs to show, as they are now; null until the server has answered. */
  get jobs() {
    const { jobs, found } = this.#studio.state;
    if (!this.isFiltered) return jobs;
    const now = new Map(jobs.map((job) => [job.id, job]));
    return found && found.jobs.map((job) => now.get(job.id) ?? job);
  }

  get isFiltered() {
    const { search, isStarred } = this.#studio.state;
    return search.trim() !== '' || isStarred;
  }

  get hasMore() {
    const { cursor, found } = this.#studio.state;
    return (this.isFiltered ? found?.cursor : cursor) != null;
  }

  /** Look for words in prompts and labels, once typing pauses. */
  setSearch(search) {
    this.#studio.change({ search });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.find, PAUSE);
  }

  setStarred(isStarred) {
    this.#studio.change({ isStarred });
    return this.find();
  }

  /** Ask for the first page of what is looked for, and say how many there are. */
  async find() {
    const number = ++this.#asked;
    if (!this.isFiltered) {
      this.#studio.change({ found: null });
      return;
    }
    const found = await this.#page();
    if (number !== this.#asked) return; // another search has begun
    this.#studio.change({ found });
    this.#studio.say(`${found.jobs.length}${found.cursor ? ' or more' : ''} found`);
  }

  /** Read the next page of what is shown. */
  async more() {
    if (this.#isReading || !this.hasMore) return;
    this.#isReading = true;
    try {
      await (this.isFiltered ? this.#moreFound() : this.#studio.jobs.older());
    } finally {
      this.#isReading = false;
    }
  }

  async #moreFound() {
    const number = this.#asked;
    const { found } = this.#studio.state;
    const next = await this.#page(found.cursor);
    if (number === this.#asked) this.#studio.change({ found: { jobs: [...found.jobs, ...next.jobs], cursor: next.cursor } });
  }

  #page(cursor = null) {
    const { search, isStarred } = this.#studio.state;
    const query = new URLSearchParams({ limit: PAGE, search: search.trim(), starred: isStarred, ...(cursor ? { cursor } : {}) });
    return get(`/v1/jobs?${query}`);
  }

  /** Star a sound, or take its star. Starred ones are kept until they are deleted by hand. */
  async star(sound) {
    const output = await get(`/v1/audio/${sound.id}/star`, { method: sound.is_starred ? 'DELETE' : 'PUT' });
    this.#replace(output);
    this.#studio.say(output.is_starred ? 'starred' : 'star taken');
  }

  /** Delete a job and its sounds, or cancel it. */
  async remove(job) {
    await this.#studio.jobs.remove(job);
    const { found } = this.#studio.state;
    if (found && isFinal(job)) this.#studio.change({ found: { ...found, jobs: found.jobs.filter((one) => one.id !== job.id) } });
  }

  /** Show the sound that a job started from. */
  async openSource(job) {
    const source = await this.#studio.lineage.find(job.request.source);
    if (!source) this.#studio.say('the sound that it was made from is gone');
    else await this.#studio.sounds.show(source.shown, source.index);
  }

  /** Put a sound in the place of what is known of it. */
  #replace(output) {
    const renew = (sounds) => sounds.map((one) => (one.id === output.id ? { ...one, ...output } : one));
    const renewed = (jobs) => jobs.map((job) => ({ ...job, outputs: renew(job.outputs) }));
    const { jobs, relatives, found, collected, shown } = this.#studio.state;
    for (const one of shown?.sounds ?? []) if (one.id === output.id) Object.assign(one, output); // in place: it may be being read
    const others = found && { ...found, jobs: renewed(found.jobs) };
    this.#studio.change({ jobs: renewed(jobs), relatives: renewed(relatives), collected: renewed(collected), found: others });
  }
}

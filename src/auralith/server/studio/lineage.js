// Which sound was made from which: each knows its source, so what was done can be walked back and forth.
import { get } from './api.js';
import { cutsOf, recall } from './uploads.js';

const DEEPEST = 32; // steps back that are asked for

export const LINEAGE = { relatives: [] };

export class Lineage {
  #studio;
  #undone = []; // what redo goes to, while its parent is shown

  constructor(studio) {
    this.#studio = studio;
    this.undo = studio.guarded(this.undo.bind(this));
    this.redo = studio.guarded(this.redo.bind(this));
  }

  /** Return the sound that what is shown was made from: {shown, index}; null where there is none, or it is gone. */
  async parent(shown) {
    const id = sourceOf(shown);
    return id ? this.find(id) : null;
  }

  /** Return where a sound is shown: {shown, index}. */
  async find(id) {
    const kept = recall(id);
    if (kept) return { shown: kept, index: 0 };
    const job = this.#maker(id) ?? (jobOf(id) && (await get(`/v1/jobs/${jobOf(id)}`).catch(() => null)));
    if (!job) return null;
    this.#learn([job]);
    return { shown: asShown(job), index: job.outputs.findIndex((output) => output.id === id) };
  }

  /** Ask the server for what a sound was made from, and for what was made from it. */
  async explore(shown) {
    for (let one = shown, depth = 0; one && depth < DEEPEST; depth += 1) one = (await this.parent(one))?.shown;
    for (const sound of shown.sounds) {
      const { jobs } = await get(`/v1/jobs?source=${sound.id}`).catch(() => ({ jobs: [] })); // an older server lists any
      this.#learn(jobs.filter((job) => job.request.source === sound.id));
    }
  }

  /** Return what was made from what is shown, the oldest first. */
  children(shown) {
    const ids = shown.sounds.map((sound) => sound.id);
    const jobs = this.#known().filter((job) => ids.includes(job.request.source));
    const order = (one, other) => (one.created_at < other.created_at ? -1 : 1);
    return [...jobs.sort(order).map(asShown), ...ids.flatMap(cutsOf)];
  }

  get canUndo() {
    return sourceOf(this.#studio.state.shown) !== null;
  }

  get canRedo() {
    const { shown } = this.#studio.state;
    return shown !== null && this.children(shown).some((child) => child.sounds.length > 0);
  }

  /** Go to the sound that this one was made from. */
  async undo() {
    const { shown, index } = this.#studio.state;
    const parent = shown && (await this.parent(shown));
    if (!parent) return;
    this.#undone.push({ shown, index });
    await this.#studio.sounds.show(parent.shown, parent.index);
    this.#studio.say(`back to ${title(parent.shown)}`);
  }

  /** Go where undo came from, or to the newest sound that was made from this one. */
  async redo() {
    const { shown } = this.#studio.state;
    if (!shown) return;
    const last = this.#undone.pop();
    const made = this.children(shown).filter((child) => child.sounds.length > 0);
    const isChild = last && made.some((child) => child.id === last.shown.id);
    const next = isChild ? last : made.length > 0 && { shown: made.at(-1), index: 0 };
    if (!next) return;
    await this.#studio.sounds.show(next.shown, next.index);
    this.#studio.say(`on to ${title(next.shown)}`);
  }

  /** Return what is shown and what it goes back to, as far as that is known, the newest first. */
  get line() {
    const line = [];
    for (let { shown } = this.#studio.state; shown && !line.some((one) => one.id === shown.id); shown = this.#near(sourceOf(shown))) {
      line.push(shown);
    }
    return line;
  }

  #near(id) {
    const job = id && this.#maker(id);
    return job ? asShown(job) : id && recall(id);
  }

  #maker(id) {
    return this.#known().find((job) => job.outputs.some((output) => output.id === id));
  }

  /** Return the jobs that are listed, and those that had to be asked for. */
  #known() {
    const { jobs, relatives } = this.#studio.state;
    return [...jobs, ...relatives.filter((one) => !jobs.some((job) => job.id === one.id))];
  }

  #learn(jobs) {
    const known = this.#known();
    const more = jobs.filter((job) => !known.some((one) => one.id === job.id));
    if (more.length) this.#studio.change({ relatives: [...this.#studio.state.relatives, ...more] });
  }
}

export function asShown(job) {
  return { id: job.id, name: job.request.prompt, sounds: job.outputs, request: job.request };
}

/** Return the job whose sound has this id; null for an upload. */
function jobOf(id) {
  return /^(.+)-\d+$/.exec(id)?.[1] ?? null;
}

function sourceOf(shown) {
  return shown?.request?.source ?? shown?.parent ?? null;
}

/** Return in a few words how a sound came to be. */
export function title({ request, parent, sounds }) {
  const span = ([start, end]) => `${start.toFixed(2)}–${end.toFixed(2)} s`;
  switch (request?.task) {
    case 'vary': return `varied, strength ${request.strength ?? request.init_noise_level}`;
    case 'inpaint': return `repainted ${request.regions.map(span).join(', ')}`;
    case 'extend': return `extended ${request.direction === 'before' ? 'left' : 'right'} to ${request.seconds.toFixed(2)} s`;
    case 'loop': return 'loop';
    case undefined: return parent ? `trimmed to ${sounds[0].seconds.toFixed(2)} s` : 'file';
    default: return 'made';
  }
}

// What is heard: a job's sounds, or a file, one at a time, at one playhead.
import { call, sent, upload } from './api.js';
import { aligned, difference } from './compare.js';
import { asShown } from './lineage.js';
import { Player, decode } from './player.js';
import { remember } from './uploads.js';
import { cut } from './wav.js';

export const SOUNDS = { shown: null, index: 0, selection: null, arrived: null, pinned: null, isReference: false };

export class Sounds {
  player = new Player();
  #store;
  #buffers = new Map();
  #references = new Map(); // sound → {buffer, difference, name} of what it was made from, or of what is pinned

  /** Show the sounds of this tab's jobs as they come, unless another one plays: that goes on, and they are offered. */
  constructor(store, jobs) {
    this.#store = store;
    for (const kind of ['play', 'pause', 'loopchange']) this.player.addEventListener(kind, () => store.change({}));
    jobs.addEventListener('sounds', ({ detail: job }) => {
      if (store.state.shown?.id === job.id) this.open(job);
      else if (!sent().includes(job.id)) return;
      else if (this.player.paused) this.open(job);
      else store.change({ arrived: job });
    });
    jobs.addEventListener('preview', ({ detail: id }) => {
      const { shown } = store.state;
      if (shown?.id === id && shown.isPreview) this.openPreview(store.state.jobs.find((job) => job.id === id));
    });
    for (const name of ['show', 'download', 'take', 'trim']) this[name] = store.guarded(this[name].bind(this));
  }

  /** Return the sound that is chosen. */
  get sound() {
    const { shown, index } = this.#store.state;
    return shown?.sounds[index];
  }

  /** Return its samples, once they are decoded. */
  get buffer() {
    return this.samples(this.sound?.id);
  }

  /** Return what it is compared with: the pinned sound, or the one that it was made from. */
  get reference() {
    return this.#references.get(this.sound?.id) ?? null;
  }

  samples(id) {
    return this.#buffers.get(id);
  }

  open(job, index = null) {
    return this.show(asShown(job), index);
  }

  /** Show what a job sounds like so far. What it becomes takes its place, at the same playhead. */
  openPreview(job) {
    const { previews, models } = this.#store.state;
    const { sample_rate } = models.find((model) => model.id === job.request.model) ?? models[0];
    const shown = { id: job.id, name: job.request.prompt, isPreview: true, sounds: [{ ...previews[job.id], sample_rate, channels: 1 }] };
    return this.show(shown, 0);
  }

  /** Show sounds {id, name, sounds}. Those that are shown already stay at their playhead. */
  async show(shown, index = null) {
    const { state } = this.#store;
    const isSame = state.shown?.id === shown.id;
    if (!isSame) this.player.pause();
    const kept = index === null ? {} : { index };
    this.#store.change({ shown, isReference: false, ...(isSame ? kept : { index: 0, selection: null, ...kept }) });
    if (state.arrived?.id === shown.id) this.#store.change({ arrived: null });
    if (!isSame) {
      this.player.setLoop(false);
      this.player.currentTime = 0;
    }
    for (const sound of shown.sounds) {
      if (!this.#buffers.has(sound.id)) this.#buffers.set(sound.id, await this.#fetched(sound));
      if (this.#store.state.shown !== shown) return;
      if (sound === this.sound) this.player.load(this.buffer);
      this.#store.change({});
    }
    this.#forget(shown.sounds.map((sound) => sound.id));
    if (shown.isPreview) return;
    await this.#compare();
    await this.#store.lineage.explore(shown);
  }

  /** Show nothing, where this job is shown. */
  close(job) {
    if (this.#store.state.shown?.id !== job.id) return;
    this.player.pause();
    this.#store.change({ shown: null });
  }

  /** Choose another variation; what plays goes on at the same place. */
  pick(index) {
    const buffer = this.samples(this.#store.state.shown?.sounds[index]?.id);
    if (!buffer) return;
    this.player.load(buffer);
    this.#store.change({ index, isReference: false });
    this.#compare();
  }

  /** Hear what the sound is compared with, or the sound again, at the same place. */
  swap() {
    const { reference } = this;
    if (!reference) return;
    const isReference = !this.#store.state.isReference;
    this.player.load(isReference ? reference.buffer : this.buffer);
    this.#store.change({ isReference });
  }

  /** Compare every sound with this one from now on, or each with its own source again. */
  pin() {
    const { pinned, shown } = this.#store.state;
    const isSame = pinned?.sound.id === this.sound.id;
    this.#references.clear();
    this.#store.change({ pinned: isSame ? null : { sound: this.sound, name: shown.name, buffer: this.buffer } });
    this.#compare();
  }

  select(selection) {
    this.#store.change({ selection });
    if (this.player.isLooping) this.player.setLoop(true, selection);
  }

  loop() {
    this.player.setLoop(!this.player.isLooping, this.#store.state.selection);
  }

  /** Play the selection again and again. */
  audition() {
    this.player.setLoop(true, this.#store.state.selection);
    this.player.play();
  }

  /** Save the sound as a file of a format; without one, the bytes that the server has. */
  async download(format = null) {
    const response = await call(this.address(format));
    save(await response.blob(), this.#fileName(format));
  }

  /** Let a file be dragged out of the page. Without a key, the program that gets it asks the server itself. */
  dragOut(event, format = null) {
    const address = new URL(this.address(format), location.href).href;
    event.dataTransfer.setData('DownloadURL', `application/octet-stream:${this.#fileName(format)}:${address}`);
    event.dataTransfer.setData('text/uri-list', address);
  }

  address(format = null) {
    return format ? `${this.sound.url}?format=${format}` : this.sound.url;
  }

  #fileName(format) {
    const { shown } = this.#store.state;
    const upload = shown.parent ? '.wav' : (/\.\w{1,5}$/.exec(shown.name)?.[0] ?? '');
    const made = /^(wav|flac|mp3|ogg)/.exec(format ?? shown.request?.format)?.[0];
    return `auralith-${this.sound.id}${made ? `.${made}` : upload}`;
  }

  saveCut() {
    save(cut(this.buffer, ...this.#store.state.selection), `auralith-${this.sound.id}-cut.wav`);
  }

  /** Make the selection a sound of its own, with the very samples. */
  async trim() {
    const { selection, shown } = this.#store.state;
    const parent = this.sound.id;
    const offset = -Math.round(selection[0] * this.buffer.sampleRate);
    const file = new File([cut(this.buffer, ...selection)], 'cut.wav');
    const asset = await this.#uploaded(file, { name: shown.name, parent, offset });
    this.#store.say(`trimmed to ${asset.seconds.toFixed(3)} s`);
  }

  /** Take a file of the visitor's as a source; its request has been read and checked by the server. */
  async take(file) {
    this.#store.say(`sending ${file.name}`);
    await this.#uploaded(file, { name: file.name, parent: null, offset: 0 });
    this.#store.say(`${file.name} is there: repaint, vary or extend it`);
  }

  async #uploaded(file, { name, parent, offset }) {
    const asset = await upload(file);
    this.#buffers.set(asset.id, await decode(await file.arrayBuffer(), asset.sample_rate));
    const shown = { id: asset.id, name, parent, offset, sounds: [{ ...asset, url: `/v1/audio/${asset.id}` }] };
    remember(shown);
    await this.show(shown);
    return asset;
  }

  async #fetched(sound) {
    return decode(await (await call(sound.url)).arrayBuffer(), sound.sample_rate);
  }

  #forget(kept) {
    for (const id of this.#buffers.keys()) if (!kept.includes(id)) this.#buffers.delete(id);
    for (const id of this.#references.keys()) if (!kept.includes(id)) this.#references.delete(id);
  }

  /** Find what the chosen sound is compared with, and how it differs. */
  async #compare() {
    const { sound, buffer } = this;
    if (!buffer || this.#references.has(sound.id)) return;
    const found = await this.#original(sound);
    if (!found || this.samples(sound.id) !== buffer) return;
    const offset = found.offset(buffer);
    const laid = aligned(found.buffer, buffer, offset);
    if (!laid) return;
    const changes = difference(buffer, laid, offset, offset + found.buffer.length);
    this.#references.set(sound.id, { name: found.name, buffer: laid, ...changes });
    this.#store.change({});
  }

  async #original(sound) {
    const { pinned, shown } = this.#store.state;
    if (pinned && pinned.sound.id !== sound.id) return { ...pinned, offset: () => 0 };
    const parent = await this.#store.lineage.parent(shown);
    if (!parent) return null;
    const source = parent.shown.sounds[parent.index];
    const buffer = this.samples(source.id) ?? (await this.#fetched(source).catch(() => null));
    const isBefore = shown.request?.task === 'extend' && shown.request.direction === 'before';
    const offset = (own) => (isBefore ? own.length - buffer.length : (shown.offset ?? 0));
    return buffer && { name: 'its source', buffer, offset };
  }
}

export function save(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

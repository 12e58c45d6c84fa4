// What is heard: a job's sounds, or a file, one at a time, at one playhead.
import { call, sent, upload } from './api.js';
import { Player, cut, decode } from './player.js';

export const SOUNDS = { shown: null, index: 0, selection: null };

export class Sounds {
  player = new Player();
  #store;
  #buffers = new Map();

  /** Show the sounds of this tab's jobs as they come, unless another one plays. */
  constructor(store, jobs) {
    this.#store = store;
    for (const kind of ['play', 'pause', 'loopchange']) this.player.addEventListener(kind, () => store.change({}));
    jobs.addEventListener('sounds', ({ detail: job }) => {
      const isShown = store.state.shown?.id === job.id;
      if (isShown || (this.player.paused && sent().includes(job.id))) this.open(job);
    });
    for (const name of ['show', 'download', 'take']) this[name] = store.guarded(this[name].bind(this));
  }

  /** Return the sound that is chosen. */
  get sound() {
    const { shown, index } = this.#store.state;
    return shown?.sounds[index];
  }

  /** Return its samples, once they are decoded. */
  get buffer() {
    return this.#buffers.get(this.sound?.id);
  }

  open(job) {
    return this.show({ id: job.id, name: job.request.prompt, sounds: job.outputs });
  }

  async show(shown) {
    const isSame = this.#store.state.shown?.id === shown.id;
    if (!isSame) this.player.pause();
    this.#store.change({ shown, ...(isSame ? {} : { index: 0, selection: null }) });
    if (!isSame) this.player.setLoop(false);
    for (const sound of shown.sounds) {
      if (!this.#buffers.has(sound.id)) {
        const bytes = await (await call(sound.url)).arrayBuffer();
        this.#buffers.set(sound.id, await decode(bytes, sound.sample_rate));
      }
      if (this.#store.state.shown !== shown) return;
      if (sound === this.sound) this.player.load(this.buffer);
      this.#store.change({});
    }
    const kept = new Set(shown.sounds.map((sound) => sound.id));
    for (const id of this.#buffers.keys()) if (!kept.has(id)) this.#buffers.delete(id);
  }

  /** Show nothing, where this job is shown. */
  close(job) {
    if (this.#store.state.shown?.id !== job.id) return;
    this.player.pause();
    this.#store.change({ shown: null });
  }

  pick(index) {
    const buffer = this.#buffers.get(this.#store.state.shown?.sounds[index]?.id);
    if (!buffer) return;
    this.player.load(buffer);
    this.#store.change({ index });
  }

  select(selection) {
    this.#store.change({ selection });
    if (this.player.isLooping) this.player.setLoop(true, selection);
  }

  loop() {
    this.player.setLoop(!this.player.isLooping, this.#store.state.selection);
  }

  async download() {
    const response = await call(this.sound.url);
    const name = /filename="([\w.-]+)"/.exec(response.headers.get('Content-Disposition'))?.[1];
    save(await response.blob(), name ?? `auralith-${this.sound.id}`);
  }

  trim() {
    save(cut(this.buffer, ...this.#store.state.selection), `auralith-${this.sound.id}-cut.wav`);
  }

  /** Take a file of the visitor's as a source; its request has been read and checked by the server. */
  async take(file) {
    this.#store.say(`sending ${file.name}`);
    const asset = await upload(file);
    this.#buffers.set(asset.id, await decode(await file.arrayBuffer(), asset.sample_rate));
    await this.show({ id: asset.id, name: file.name, sounds: [asset] });
    this.#store.say(`${file.name} is there: repaint, vary or extend it`);
  }
}

function save(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// How a sound came to be: the tags of its file, and the training sounds that it is nearest to.
import { get } from './api.js';

export const TRACING = { tags: null, nearest: null };

export class Tracing {
  #studio;

  constructor(studio) {
    this.#studio = studio;
    for (const name of ['read', 'compare', 'copy']) this[name] = studio.guarded(this[name].bind(this));
  }

  /** Read the tags of a sound: {id, values}. */
  async read(sound) {
    if (this.#studio.state.tags?.id === sound.id) return;
    this.#studio.change({ tags: { id: sound.id, values: null }, nearest: null });
    const values = await get(`/v1/audio/${sound.id}/provenance`);
    if (this.#studio.state.tags.id === sound.id) this.#studio.change({ tags: { id: sound.id, values } });
  }

  /** Ask for the training sounds that are nearest to a sound: {id, items}. */
  async compare(sound) {
    this.#studio.change({ nearest: { id: sound.id, items: null } });
    try {
      const { nearest } = await get(`/v1/audio/${sound.id}/nearest`);
      if (this.#studio.state.nearest?.id === sound.id) this.#studio.change({ nearest: { id: sound.id, items: nearest } });
    } catch (error) {
      this.#studio.change({ nearest: null });
      throw error;
    }
  }

  async copy(text) {
    if (!navigator.clipboard) { // only pages of this machine, or over TLS, have one
      this.#studio.say('select the command and copy it; this page may not');
      return;
    }
    await navigator.clipboard.writeText(text);
    this.#studio.say('the command is copied');
  }
}

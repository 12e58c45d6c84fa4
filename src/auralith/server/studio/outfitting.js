// Adapters and models: what is there, and which adapters the form asks for.
import { get } from './api.js';
import { number } from './request.js';

export const OUTFITTING = { adapters: null, loaded: [], cards: {} };

export class Outfitting {
  #studio;

  constructor(studio) {
    this.#studio = studio;
    for (const name of ['read', 'readCard']) this[name] = studio.guarded(this[name].bind(this));
  }

  /** Ask which adapters are in the folder, and which models are in memory. */
  async read() {
    const { adapters } = await get('/v1/adapters');
    this.#studio.change({ adapters: adapters.map((one) => one.id) });
    const { models } = await get('/readyz');
    this.#studio.change({ loaded: models });
  }

  /** Give an adapter a strength, as text; null leaves it out. */
  set(id, strength) {
    const { [id]: old, ...others } = this.#studio.state.form.adapters;
    this.#studio.making.set('adapters', strength === null ? others : { ...others, [id]: String(number(strength)) });
  }

  async readCard(model) {
    if (this.#studio.state.cards[model]) return;
    const card = await get(`/v1/models/${encodeURIComponent(model)}/card`);
    this.#studio.change({ cards: { ...this.#studio.state.cards, [model]: card } });
  }
}

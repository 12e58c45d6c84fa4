// What the form does: it estimates, draws prompts and sends.
import { get } from './api.js';
import { EMPTY, changed, fromRequest, isPlausible, modelOf, toRequest } from './request.js';

const PAUSE = 350; // milliseconds without a change before an estimate is asked for

export const MAKING = { form: EMPTY, estimate: null };

export class Making {
  #studio;
  #timer = 0;
  #asked = 0;

  constructor(studio) {
    this.#studio = studio;
  }

  /** Change a field of the form. */
  set(name, value) {
    this.#put(changed(this.#studio.state.form, name, value));
  }

  /** Change a further setting; an empty text takes the default again. */
  setMore(name, text) {
    const { form } = this.#studio.state;
    this.#put({ ...form, more: { ...form.more, [name]: text } });
  }

  get request() {
    const { state } = this.#studio;
    return toRequest(state.form, modelOf(state).settings);
  }

  generate() {
    return this.#studio.jobs.send(this.request);
  }

  /** Bring the settings of a request back into the form. */
  copy(request) {
    const { models } = this.#studio.state;
    const { settings } = models.find((one) => one.id === request.model) ?? models[0];
    this.#put(fromRequest(request, settings));
    this.#studio.change({ problem: null, status: 'settings copied' });
    document.getElementById('prompt').focus();
  }

  /** Take a prompt of the server's examples. */
  async surprise() {
    const { prompts: [prompt] } = await get('/v1/prompts/random');
    this.set('prompt', prompt);
    this.#studio.say(prompt);
  }

  /** Draw a seed and keep it. */
  drawSeed() {
    const [high, low] = crypto.getRandomValues(new Uint32Array(2));
    this.set('seed', String((BigInt(high % 2 ** 20) << 32n) + BigInt(low)));
  }

  #put(form) {
    this.#studio.change({ form });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#estimate(), PAUSE);
  }

  /** Ask how long the request takes and what is to be said of it, unless it is seen that it would be refused. */
  async #estimate() {
    const number = ++this.#asked;
    const { state } = this.#studio;
    const canAsk = isPlausible(this.request, modelOf(state), state.limits);
    const found = canAsk ? await this.#asking().catch(() => null) : null;
    if (number === this.#asked) this.#studio.change({ estimate: found });
  }

  #asking() {
    const headers = { 'Content-Type': 'application/json' };
    return get('/v1/estimates', { method: 'POST', headers, body: JSON.stringify(this.request) });
  }
}

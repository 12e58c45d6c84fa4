// New sounds made from the one that is heard, under the prompt of the form.
import { toRequest } from './form.js';

export const EDITING = { edit: { strength: '0.5', more: '2' } };

export class Editing {
  #studio;

  constructor(studio) {
    this.#studio = studio;
  }

  change(values) {
    this.#studio.change({ edit: { ...this.#studio.state.edit, ...values } });
  }

  repaint() {
    return this.#make({ task: 'inpaint', regions: [this.#studio.state.selection] });
  }

  vary() {
    return this.#make({ task: 'vary', strength: Number(this.#studio.state.edit.strength) });
  }

  /** Make the sound longer at one side: before or after. */
  extend(direction) {
    const { seconds } = this.#studio.sounds.sound;
    return this.#make({ task: 'extend', direction, seconds: seconds + Number(this.#studio.state.edit.more) });
  }

  #make(edit) {
    const { state, jobs, sounds } = this.#studio;
    return jobs.send(toRequest(state.form, { ...edit, source: sounds.sound.id }));
  }
}

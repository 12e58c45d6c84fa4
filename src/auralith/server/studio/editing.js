// New sounds made from the one that is heard, under the prompt of the form, or its own where the form has none.
import { modelOf, number, toMembers, toRequest } from './request.js';
import { gridStep, snapped } from './grid.js';

export const EDITING = {
  edit: { strength: '0.5', more: '2', unit: 'seconds', settings: { vary: {}, inpaint: {}, extend: {} } },
  grid: { snap: 'off', bpm: '', beats: '4' },
};

export class Editing {
  #studio;

  constructor(studio) {
    this.#studio = studio;
  }

  /** Change members of the edit. */
  change(values) {
    this.#studio.change({ edit: { ...this.#studio.state.edit, ...values } });
  }

  /** Change a setting of an edit; an empty text takes the default again. */
  setMore(task, name, text) {
    const { settings } = this.#studio.state.edit;
    this.change({ settings: { ...settings, [task]: { ...settings[task], [name]: text } } });
  }

  /**
   * Return the tempo that selections keep to: the one that was typed here, or that of the sound or of what it
   * was made from, or of the form.
   */
  get grid() {
    const { grid, form } = this.#studio.state;
    const requests = this.#studio.lineage.line.map((shown) => shown.request ?? {});
    const { bpm, beats_per_bar: beats, conditions } = requests.find((one) => one.bpm ?? one.conditions?.bpm) ?? {};
    const own = bpm ?? conditions?.bpm ?? form.bpm;
    return { ...grid, bpm: grid.bpm || String(own ?? ''), beats: grid.bpm ? grid.beats : String(beats ?? grid.beats) };
  }

  setGrid(values) {
    const { grid } = this.#studio.state;
    this.#studio.change({ grid: { ...grid, ...values } });
    const { selection } = this.#studio.state;
    if (selection) this.select(selection);
  }

  /** Select a stretch of seconds, at the nearest lines of the grid. */
  select(selection) {
    const { sounds } = this.#studio;
    sounds.select(selection && snapped(selection, this.grid, sounds.buffer));
  }

  repaint() {
    return this.#make('inpaint', { regions: [this.#studio.state.selection] });
  }

  vary() {
    const { strength, settings } = this.#studio.state.edit;
    return this.#make('vary', settings.vary.init_noise_level ? {} : { strength: number(strength) });
  }

  /** Make the sound longer at one side: before or after. */
  extend(direction) {
    const { more, unit } = this.#studio.state.edit;
    const seconds = number(more) * (unit === 'bars' ? gridStep({ ...this.grid, snap: 'bar' }) : 1);
    return this.#make('extend', { direction, seconds: this.#studio.sounds.sound.seconds + seconds });
  }

  #make(task, edit) {
    const { state, jobs, sounds } = this.#studio;
    const model = modelOf(state);
    const form = { ...state.form, prompt: state.form.prompt.trim() ? state.form.prompt : (state.shown.request?.prompt ?? '') };
    const own = toMembers(state.edit.settings[task], model.edits[task]);
    return jobs.send({ ...toRequest(form, model.settings, edit), ...own, task, source: sounds.sound.id });
  }
}

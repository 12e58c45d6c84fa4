// What to make: fields, and the request they mean. An empty field takes the model's default.
import { State } from './progress.js';
import { html } from './html.js';

export const EMPTY = {
  model: '', prompt: '', negative_prompt: '', seconds: '', bars: '', beats: '4', bpm: '', n: '4',
  seed: '', keepSeed: false, steps: '', guidance: '', sampler: '', format: 'wav', isLoop: false,
};
export const FORM = { form: EMPTY };
const NUMBERS = ['seconds', 'steps', 'guidance'];

/** Return the request of a form, for an edit with its members. */
export function toRequest(form, edit = null) {
  const body = { prompt: form.prompt, n: Number(form.n), format: form.format };
  if (edit === null && form.isLoop) body.task = 'loop';
  for (const name of NUMBERS) if (form[name].trim()) body[name] = Number(form[name]);
  for (const name of ['model', 'negative_prompt', 'sampler']) if (form[name]) body[name] = form[name];
  if (form.keepSeed && form.seed.trim()) body.seed = form.seed.trim();
  if (edit === null) return body;
  delete body.seconds; // an edit has its source's length, or says its own
  return { ...body, ...edit };
}

/** Return the form of a job's request: the same settings, and the seed kept. */
export function fromRequest(request) {
  const text = (value) => (value === undefined || value === null ? '' : String(value));
  const seconds = ['loop', 'text'].includes(request.task) ? request.seconds : '';
  const names = ['model', 'prompt', 'negative_prompt', 'n', 'seed', 'steps', 'guidance', 'sampler', 'format'];
  const copied = Object.fromEntries(names.map((name) => [name, text(request[name])]));
  return { ...EMPTY, ...copied, seconds: text(seconds), keepSeed: true, isLoop: request.task === 'loop' };
}

/** Bring the settings of a request back into the form. */
export function copySettings(studio, request) {
  studio.change({ form: fromRequest(request), problem: null, status: 'settings copied' });
  document.getElementById('prompt').focus();
}

/** Return the form with a field changed; bars at a tempo say the exact seconds. */
function changed(form, name, value) {
  const next = { ...form, [name]: value };
  if (name === 'seconds') return { ...next, bars: '', bpm: '' };
  if (name === 'seed') return { ...next, keepSeed: value.trim() !== '' };
  const [bars, beats, bpm] = [next.bars, next.beats, next.bpm].map(Number);
  if (['bars', 'beats', 'bpm'].includes(name) && bars > 0 && beats > 0 && bpm > 0) {
    next.seconds = String((60 * beats * bars) / bpm);
  }
  return next;
}

export function Form({ studio }) {
  const { form, models, limits, problem, isSending } = studio.state;
  const { running } = studio.jobs;
  const model = models.find((one) => one.id === form.model) ?? models[0];
  const set = (name) => ({ target }) =>
    studio.change({ form: changed(form, name, target.type === 'checkbox' ? target.checked : target.value) });
  const submitted = (event) => {
    event.preventDefault();
    studio.jobs.send(toRequest(form));
  };
  const about = { form, set, problem };
  return html`<form id="make" class="card" aria-labelledby="make-title" onSubmit=${submitted}>
    <h2 id="make-title">Make</h2>
    <label for="prompt">Prompt</label>
    <textarea id="prompt" rows="2" required autofocus value=${form.prompt} onInput=${set('prompt')}
      aria-invalid=${problem?.field === 'prompt'} placeholder="a slow techno loop at 118 bpm"></textarea>
    <div class="row">
      <${Text} ...${about} name="negative_prompt" label="Keep away from" wide />
    </div>
    <div class="row">
      <${Number_} ...${about} name="seconds" label="Seconds" hint=${`at most ${round(model.seconds_max)}`}
        placeholder=${round(model.seconds_max)} />
      <fieldset class="row inner"><legend>or by tempo</legend>
        <${Number_} ...${about} name="bars" label="Bars" />
        <${Number_} ...${about} name="beats" label="Beats" />
        <${Number_} ...${about} name="bpm" label="BPM" />
      </fieldset>
      <${Number_} ...${about} name="n" label="Variations" hint=${`at most ${limits.n}`} />
      <${Check} ...${about} name="isLoop" label="Seamless loop" />
    </div>
    <div class="row">
      <${Text} ...${about} name="seed" label="Seed" placeholder="drawn anew" />
      <${Check} ...${about} name="keepSeed" label="Keep seed" />
    </div>
    <details><summary>Advanced</summary><div class="row">
      ${models.length > 1 && html`<${Choice} ...${about} name="model" label="Model" values=${models.map((one) => one.id)} />`}
      <${Number_} ...${about} name="steps" label="Steps" placeholder=${model.defaults.steps} hint=${between(model.limits.steps)} />
      <${Number_} ...${about} name="guidance" label="Guidance" placeholder=${model.defaults.guidance}
        hint=${between(model.limits.guidance)} />
      <${Choice} ...${about} name="sampler" label="Sampler" values=${model.samplers} first=${`${model.defaults.sampler} (default)`} />
      <${Choice} ...${about} name="format" label="Format" values=${limits.formats} />
    </div></details>
    <div class="row">
      <button class="primary" type="submit" disabled=${isSending}>Generate</button>
      <kbd>Ctrl Enter</kbd>
    </div>
    ${running && html`<${State} job=${running} />`}
    ${problem && html`<p role="alert" class="problem">${problem.message}${problem.retryAfter ? ` (in ${problem.retryAfter} s)` : ''}</p>`}
  </form>`;
}

function Text({ form, set, problem, name, label, hint, placeholder, wide, mode }) {
  return html`<div class=${wide ? 'field wide' : 'field'}>
    <label for=${name}>${label}</label>
    <input id=${name} value=${form[name]} onInput=${set(name)} placeholder=${placeholder} inputmode=${mode}
      autocomplete="off" aria-invalid=${problem?.field === name} aria-describedby=${hint ? `${name}-hint` : null} />
    ${hint && html`<small id=${`${name}-hint`}>${hint}</small>`}
  </div>`;
}

function Number_(props) {
  return html`<div class="number"><${Text} ...${props} mode="decimal" /></div>`;
}

function Check({ form, set, name, label }) {
  return html`<label class="check"><input type="checkbox" id=${name} checked=${form[name]} onChange=${set(name)} /> ${label}</label>`;
}

function Choice({ form, set, name, label, values, first }) {
  return html`<div class="field"><label for=${name}>${label}</label>
    <select id=${name} value=${form[name]} onChange=${set(name)}>
      ${first && html`<option value="">${first}</option>`}
      ${values.map((value) => html`<option key=${value} value=${value}>${value}</option>`)}
    </select></div>`;
}

function between([least, most]) {
  return `${least} to ${most.toLocaleString('en')}`;
}

export function round(seconds) {
  return String(Math.floor(seconds * 100) / 100);
}

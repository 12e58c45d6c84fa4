// Settings that the server describes: their names, kinds, defaults and limits come from there.
import { Choice, Text } from './fields.js';
import { html } from './html.js';

const BOUNDLESS = 1e9; // a maximum from which on nobody asks for more
const LISTS = { sampler: true, schedule: true }; // whose description lists what the choices are
const LABELS = {
  cfg_rescale: 'Guidance rescale', cfg_interval: 'Guidance interval', apg_eta: 'Projection: parallel share',
  apg_norm_threshold: 'Projection: largest norm', apg_momentum: 'Projection: momentum', sigma_min: 'Lowest noise',
  sigma_max: 'Highest noise', sigmas: 'Noise levels', rho: 'Bend of the schedule', mix: 'Mixed prompts',
  seconds_start: 'Starts at second', seconds_output: 'Seconds of the part', noise: 'Order of noise',
  init_noise_level: 'Noise level', hold_level: 'Hold the level',
};

/** Return whether a setting is edited as a text of its own lines: numbers with a text each, such as mixed prompts. */
function isPairs({ type, items }) {
  return type === 'array' && items?.type === 'array';
}

export function Settings({ settings, values, problem, onValue, prefix = '' }) {
  return Object.entries(settings).map(([name, schema]) => html`<${Setting} key=${name} name=${name} schema=${schema}
    value=${values[name] ?? ''} id=${prefix + name} isInvalid=${problem?.field === name} onValue=${(text) => onValue(name, text)} />`);
}

function Setting({ name, schema, value, id, isInvalid, onValue }) {
  const { type, enum: choices, default: usual = null, description = '' } = schema;
  const shared = { id, label: LABELS[name] ?? sentence(name), value, onValue, isInvalid };
  if (choices || type === 'boolean') {
    const first = ['', usual === null ? 'default' : `${usual} (default)`];
    const others = (choices ?? ['true', 'false']).filter((one) => one !== String(usual));
    return html`<${Choice} ...${shared} values=${[first, ...others.map((one) => [one, one])]} hint=${name in LISTS ? null : description} />`;
  }
  if (isPairs(schema)) return html`<${Lines} ...${shared} hint=${description} />`;
  const isNumber = type === 'number' || type === 'integer';
  return html`<${Text} ...${shared} placeholder=${Array.isArray(usual) ? usual.join(', ') : (usual ?? '')} isNumber=${isNumber}
    hint=${[description, isNumber ? limits(schema) : ''].filter(Boolean).join(' ')} />`;
}

function Lines({ id, label, value, onValue, hint, isInvalid }) {
  return html`<div class="field wide"><label for=${id}>${label}</label>
    <textarea id=${id} rows="2" value=${value} onInput=${(event) => onValue(event.target.value)} aria-invalid=${isInvalid ? 'true' : null}
      aria-describedby=${`${id}-hint`} placeholder="0.3: thunder"></textarea>
    <small id=${`${id}-hint`}>${hint} A line each.</small></div>`;
}

/** Return the bounds of a number, unless its description has them. */
function limits({ minimum, exclusiveMinimum, maximum = Infinity, description = '' }) {
  const [low, high] = [minimum ?? exclusiveMinimum, maximum].map((value) => value.toLocaleString('en'));
  return maximum < BOUNDLESS && !description.includes(`${low} to ${high}`) ? `${low} to ${high}.` : '';
}

function sentence(name) {
  const words = name.replaceAll('_', ' ');
  return words[0].toUpperCase() + words.slice(1);
}

// The form as values, and the request that they mean. An empty field takes the model's default.
export const EMPTY = {
  model: '', prompt: '', negative_prompt: '', seconds: '', bars: '', beats: '4', bpm: '', n: '4',
  seed: '', keepSeed: false, format: 'wav', isLoop: false, adapters: {}, more: {},
};
const OWN = ['model', 'prompt', 'negative_prompt', 'n', 'seed', 'format'];
const ELSEWHERE = [...OWN, 'seconds', 'regions', 'strength', 'direction']; // settings with controls of their own

/** Return the model that a form is for. */
export function modelOf({ models, form }) {
  return models.find((one) => one.id === form.model) ?? models[0];
}

/** Return the settings that have no control of their own: schemas by name. */
export function further(settings) {
  const isThere = ([name, { properties }]) => !ELSEWHERE.includes(name) && !(properties && !Object.keys(properties).length);
  return Object.fromEntries(Object.entries(settings).filter(isThere));
}

/** Return the members that texts stand for, by the schemas of settings. */
export function toMembers(texts, settings) {
  const given = Object.entries(further(settings)).filter(([name]) => texts[name]?.trim());
  return Object.fromEntries(given.map(([name, schema]) => [name, parsed(schema, texts[name].trim())]));
}

/** Return the request of a form, for an edit with its members. */
export function toRequest(form, settings, edit = null) {
  const body = { prompt: form.prompt, n: number(form.n), format: form.format };
  for (const name of ['model', 'negative_prompt']) if (form[name]) body[name] = form[name];
  if (form.keepSeed && form.seed.trim()) body.seed = form.seed.trim();
  const adapters = Object.entries(form.adapters).map(([id, strength]) => ({ id, strength: number(strength) }));
  if (adapters.length) body.adapters = adapters;
  Object.assign(body, toMembers(form.more, settings));
  if (edit !== null) { // it has its source's length, or says its own
    for (const name of ['seconds_start', 'seconds_output']) delete body[name];
    return { ...body, ...edit };
  }
  return { ...body, ...(form.isLoop ? loopOf(form) : lengthOf(form)) };
}

/** Return whether a request has a prompt, and numbers within their bounds. Only the server knows whether it is valid. */
export function isPlausible(body, { settings, seconds_max: longest }, { n }) {
  const { seed, ...others } = settings; // it is text here
  const limited = { ...others, seconds: { ...settings.seconds, maximum: longest }, n: { type: 'integer', minimum: 1, maximum: n } };
  return body.prompt.trim() !== '' && Object.entries(limited).every(([name, schema]) => body[name] === undefined || isWithin(body[name], schema));
}

function isWithin(value, { type, minimum = -Infinity, exclusiveMinimum = -Infinity, maximum = Infinity }) {
  if (type !== 'number' && type !== 'integer') return true;
  if (typeof value !== 'number') return false;
  return value >= minimum && value > exclusiveMinimum && value <= maximum && (type === 'number' || Number.isInteger(value));
}

function lengthOf(form) {
  return form.seconds.trim() ? { seconds: number(form.seconds) } : {};
}

/** Return the members of a loop; by tempo, where it is of whole bars, so that its file says so. */
function loopOf(form) {
  const [bars, beats, bpm] = [form.bars, form.beats, form.bpm].map(number);
  if (Number.isInteger(bars) && bars > 0 && bpm > 0) return { task: 'loop', bars, beats_per_bar: beats, bpm };
  return { task: 'loop', ...lengthOf(form) };
}

/** Return the number of a text, in either notation of decimals; the text itself where it is none, for the server to refuse. */
export function number(text) {
  const value = Number(text.trim().replace(',', '.'));
  return text.trim() === '' || Number.isNaN(value) ? text : value;
}

/** Return the value of a setting's text: numbers apart by commas or blanks, name=number, or lines of number: text. */
function parsed({ type, items }, text) {
  if (type === 'boolean') return text === 'true';
  if (type === 'number' || type === 'integer') return number(text);
  const parts = text.split(/[\s,;]+/).filter(Boolean);
  if (type === 'object') return Object.fromEntries(parts.map((part) => part.split('=')).map(([name, value = '']) => [name, number(value)]));
  if (type !== 'array') return text;
  if (items?.type !== 'array') return parts.map(number);
  const lines = text.split('\n').filter((line) => line.trim());
  return lines.map((line) => /^([^:]*):?(.*)$/.exec(line).slice(1)).map(([first, rest]) => [number(first), rest.trim()]);
}

/** Return the text of a setting's value, which `parsed` reads again. */
function written({ type, items }, value) {
  if (type === 'object') return Object.entries(value).map((entry) => entry.join('=')).join(', ');
  if (type !== 'array') return String(value);
  return items?.type === 'array' ? value.map((entry) => entry.join(': ')).join('\n') : value.join(', ');
}

/** Return the form of a job's request: the same settings, but for those that are the default anyway, and the seed kept. */
export function fromRequest(request, settings) {
  const text = (value) => (value === undefined || value === null ? '' : String(value));
  const copied = Object.fromEntries(OWN.map((name) => [name, text(request[name])]));
  const isOwn = ([name, schema]) => !isEmpty(request[name]) && JSON.stringify(request[name]) !== JSON.stringify(schema.default)
    && !(name === 'seconds_output' && request[name] === request.seconds - (request.seconds_start ?? 0));
  const given = Object.entries(further(settings)).filter(isOwn);
  const more = Object.fromEntries(given.map(([name, schema]) => [name, written(schema, request[name])]));
  const adapters = Object.fromEntries((request.adapters ?? []).map((one) => [one.id, String(one.strength)]));
  const form = { ...EMPTY, ...copied, adapters, more, keepSeed: true, isLoop: request.task === 'loop' };
  if (!['loop', 'text'].includes(request.task)) return form;
  if (request.bars === undefined || request.bars === null) return { ...form, seconds: text(request.seconds) };
  const tempo = { bars: text(request.bars), beats: text(request.beats_per_bar), bpm: text(request.bpm) };
  return withTempo({ ...form, ...tempo });
}

function isEmpty(value) {
  return value === undefined || value === null || (typeof value === 'object' && !Object.keys(value).length);
}

/** Return the form with a field changed; bars at a tempo say the exact seconds. */
export function changed(form, name, value) {
  const next = { ...form, [name]: value };
  if (name === 'seconds') return { ...next, bars: '' };
  if (name === 'seed') return { ...next, keepSeed: value.trim() !== '' };
  return ['bars', 'beats', 'bpm'].includes(name) ? withTempo(next) : next;
}

function withTempo(form) {
  const [bars, beats, bpm] = [form.bars, form.beats, form.bpm].map(number);
  return bars > 0 && beats > 0 && bpm > 0 ? { ...form, seconds: String((60 * beats * bars) / bpm) } : form;
}

// The public API (docs/serving.md), and nothing else.
const KEY = 'auralith-key';
const SENT = 'auralith-sent';
const MOST_SENT = 64;

export class Problem extends Error {
  constructor(found, status, retryAfter) {
    super(found.detail ?? `the server answered ${status}`);
    this.status = status;
    this.field = found.errors?.[0]?.field ?? null;
    this.retryAfter = retryAfter;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** Return the response of a call; throw a `Problem` for any that is no success. */
export async function call(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new Problem({ detail: "the server can't be reached; is it running?" }, 0, null);
  });
  if (response.ok) return response;
  const found = await response.json().catch(() => ({}));
  throw new Problem(found, response.status, response.headers.get('Retry-After'));
}

/** Return the JSON value of a call. Seeds are text: they may be larger than what a number holds exactly. */
export async function get(path, options) {
  const text = await (await call(path, options)).text();
  return JSON.parse(text, (name, value, context) =>
    name === 'seed' && typeof value === 'number' ? (context?.source ?? String(value)) : value);
}

/** Return the ids of the jobs that this tab has sent, also before a reload. */
export function sent() {
  return JSON.parse(sessionStorage.getItem(SENT) ?? '[]');
}

export function keepSent(id) {
  sessionStorage.setItem(SENT, JSON.stringify([id, ...sent()].slice(0, MOST_SENT)));
}

/** Return the job of a request. Sent again under the same key after a lost answer, it is still one job. */
export async function submit(body, key = token()) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const options = { method: 'POST', headers, body: JSON.stringify(body) };
  try {
    return await get('/v1/audio/generations', options);
  } catch (error) {
    if (error.status) throw error; // an answer came
    return get('/v1/audio/generations', options);
  }
}

export function upload(file) {
  const body = new FormData();
  body.append('file', file);
  return get('/v1/assets', { method: 'POST', body });
}

/** Yield the events of a job after a number: {id, kind, data}. */
export async function* events(job, after) {
  const headers = { 'Last-Event-ID': after };
  const { body } = await call(`/v1/jobs/${job}/events`, { headers });
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (text + value).split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map(splitField));
        if (fields.event) yield { id: fields.id, kind: fields.event, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // of a broken stream too
  }
}

function splitField(line) {
  const colon = line.indexOf(': ');
  return [line.slice(0, colon), line.slice(colon + 2)];
}

export function token() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

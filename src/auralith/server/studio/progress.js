// How far a job is.
import { html } from './html.js';
import { isFinal } from './jobs.js';

/** How far a job is, or why it failed. */
export function State({ job }) {
  if (job.status === 'failed') return html`<p class="problem">${job.error?.detail ?? 'failed'}</p>`;
  if (job.is_cancelled || job.status === 'cancelled') return html`<p>${isFinal(job) ? 'cancelled' : 'being cancelled'}</p>`;
  if (job.status === 'queued') return html`<p>${waiting(job)}</p>`;
  const { stage, sound = 1, step, of } = job.progress ?? {};
  const share = (sound - 1 + (of ? step / of : 0)) / job.request.n;
  const text = `${stage ?? 'starting'}, sound ${sound} of ${job.request.n}${of ? `, step ${step} of ${of}` : ''}`;
  return html`<label class="progress">${text}<progress max="1" value=${share}></progress></label>`;
}

function waiting(job) {
  const eta = typeof job.eta_seconds === 'number' ? `, done in about ${Math.ceil(job.eta_seconds)} s` : '';
  return `waiting${job.position ? `, place ${job.position}` : ''}${eta}`;
}

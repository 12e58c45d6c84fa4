// Jobs, the newest first, as the server keeps them.
import { html } from './html.js';

const FINAL = ['succeeded', 'failed', 'cancelled'];
const TASKS = { text: 'Made', loop: 'Loop', vary: 'Varied', inpaint: 'Repainted', extend: 'Extended' };

export function isFinal(job) {
  return FINAL.includes(job.status);
}

export function History({ jobs, cursor, shown, on }) {
  return html`<section class="card" aria-labelledby="history">
    <h2 id="history">History</h2>
    ${jobs.length === 0 && html`<p>What you make stays here.</p>`}
    <ol>${jobs.map((job) => html`<${Entry} key=${job.id} job=${job} isShown=${job.id === shown} on=${on} />`)}</ol>
    ${cursor && html`<button type="button" onClick=${on.older}>Older</button>`}
  </section>`;
}

function Entry({ job, isShown, on }) {
  const { request } = job;
  const when = new Date(job.created_at);
  const name = `job-${job.id}`;
  return html`<li class=${isShown ? 'shown' : ''}>
    <button type="button" class="open" id=${name} aria-current=${isShown ? 'true' : null} disabled=${job.outputs.length === 0}
      onClick=${() => on.open(job)}>${request.prompt}</button>
    <small>${TASKS[request.task]}, <time datetime=${job.created_at}>${when.toLocaleString()}</time>, seed ${request.seed}</small>
    ${job.status === 'succeeded' ? null : html`<${State} job=${job} />`}
    <div class="row">
      <button type="button" aria-describedby=${name} onClick=${() => on.copy(job)}>Copy settings</button>
      <button type="button" aria-describedby=${name} onClick=${() => on.again(job)}>Run again</button>
      <button type="button" aria-describedby=${name} onClick=${() => on.remove(job)}>${isFinal(job) ? 'Delete' : 'Cancel'}</button>
    </div>
  </li>`;
}

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

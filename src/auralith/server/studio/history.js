// Jobs, the newest first, as the server keeps them.
import { html } from './html.js';
import { isFinal } from './jobs.js';
import { State } from './progress.js';

const TASKS = { text: 'Made', loop: 'Loop', vary: 'Varied', inpaint: 'Repainted', extend: 'Extended' };

export function History({ studio }) {
  const { jobs, cursor, shown } = studio.state;
  return html`<section class="card" aria-labelledby="history">
    <h2 id="history">History</h2>
    ${jobs.length === 0 && html`<p>What you make stays here.</p>`}
    <ol>${jobs.map((job) => html`<${Entry} key=${job.id} job=${job} isShown=${job.id === shown?.id} studio=${studio} />`)}</ol>
    ${cursor && html`<button type="button" onClick=${studio.guarded(() => studio.jobs.older())}>Older</button>`}
  </section>`;
}

function Entry({ job, isShown, studio }) {
  const remove = studio.guarded(async () => {
    await studio.jobs.remove(job);
    if (isFinal(job)) studio.sounds.close(job);
  });
  const { request } = job;
  const when = new Date(job.created_at);
  const isToday = when.toDateString() === new Date().toDateString();
  const time = isToday ? when.toLocaleTimeString([], { timeStyle: 'short' }) : when.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  const name = `job-${job.id}`;
  return html`<li class=${isShown ? 'shown' : ''}>
    <button type="button" class="open" id=${name} aria-current=${isShown ? 'true' : null} disabled=${job.outputs.length === 0}
      onClick=${() => studio.sounds.open(job)}>${request.prompt}</button>
    <small>${TASKS[request.task]} · <time datetime=${job.created_at}>${time}</time> · seed ${request.seed}</small>
    ${job.status === 'succeeded' ? null : html`<${State} job=${job} />`}
    <div class="row">
      <button type="button" aria-describedby=${name} onClick=${() => studio.making.copy(job.request)}>Copy settings</button>
      <button type="button" aria-describedby=${name} onClick=${() => studio.jobs.send(job.request)}>Run again</button>
      <button type="button" aria-describedby=${name} onClick=${remove}>${isFinal(job) ? 'Delete' : 'Cancel'}</button>
    </div>
  </li>`;
}

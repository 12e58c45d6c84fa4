// This tab's jobs that wait or run.
import { sent } from './api.js';
import { Button } from './fields.js';
import { html } from './html.js';
import { Icon } from './icons.js';
import { isFinal } from './jobs.js';
import { State } from './progress.js';
import { Thumbnail } from './thumbnail.js';

export function Flight({ studio }) {
  const own = sent();
  const { previews } = studio.state;
  const jobs = studio.state.jobs.filter((job) => !isFinal(job) && own.includes(job.id)).reverse();
  if (!jobs.length) return null;
  return html`<ul class="flight" aria-label="Being made">${jobs.map((job) => html`<li key=${job.id}>
    <span class="name" id=${`flight-${job.id}`}>${job.request.prompt}</span><${State} job=${job} />
    ${previews[job.id] && html`<button type="button" class="preview" aria-label="Hear it so far"
      title="Hear it so far" aria-describedby=${`flight-${job.id}`}
      onClick=${() => studio.sounds.openPreview(job)}><${Icon} name="play" /><${Thumbnail} peaks=${previews[job.id].peaks} /></button>`}
    <${Button} icon="close" label="Cancel" kind="quiet" describedBy=${`flight-${job.id}`}
      onClick=${studio.guarded(() => studio.jobs.remove(job))} /></li>`)}</ul>`;
}

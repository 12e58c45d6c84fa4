// Jobs, the newest first, as the server keeps them: looked for, starred, heard again, made again.
import { Button } from './fields.js';
import { Component, createRef, html } from './html.js';
import { Icon } from './icons.js';
import { isFinal } from './jobs.js';
import { State } from './progress.js';

const TASKS = { text: 'Made', loop: 'Loop', vary: 'Varied', inpaint: 'Repainted', extend: 'Extended' };
const NEAR = '400px'; // before the end of the list that the next page is read

export function History({ studio }) {
  const { remembering, state } = studio;
  const { jobs } = remembering;
  return html`<section class="history" aria-label="History">
    <div class="joined" role="search"><div class="field wide"><label for="search" class="hidden">Search prompts</label>
      <input id="search" type="search" placeholder="Search prompts" autocomplete="off" value=${state.search}
        onInput=${(event) => remembering.setSearch(event.target.value)} /></div>
      <${Button} icon="star" label="Only starred" isOn=${state.isStarred} onClick=${() => remembering.setStarred(!state.isStarred)} /></div>
    ${jobs?.length === 0 && html`<p>${remembering.isFiltered ? 'Nothing is found.' : 'What you make stays here.'}</p>`}
    <${Pages} studio=${studio} jobs=${jobs ?? []} />
  </section>`;
}

/** A list that reads on when its end comes near; the button does the same for those who don't scroll. */
class Pages extends Component {
  #box = createRef();
  #end = createRef();
  #watch = null;

  componentDidMount() {
    const { remembering } = this.props.studio;
    this.#watch = new IntersectionObserver((found) => found.some((one) => one.isIntersecting) && remembering.more(),
      { root: this.#box.current, rootMargin: NEAR });
    this.#watch.observe(this.#end.current);
  }

  componentDidUpdate(before) {
    if (before.jobs.length === this.props.jobs.length) return;
    this.#watch.unobserve(this.#end.current); // asks again whether the end is near
    this.#watch.observe(this.#end.current);
  }

  componentWillUnmount() {
    this.#watch.disconnect();
  }

  render({ studio, jobs }) {
    const { remembering, state: { shown } } = studio;
    return html`<div class="pages" ref=${this.#box}>
      <ol>${jobs.map((job) => html`<${Entry} key=${job.id} job=${job} isShown=${job.id === shown?.id} studio=${studio} />`)}</ol>
      <div ref=${this.#end}>${remembering.hasMore && html`<button type="button" onClick=${remembering.more}>Older</button>`}</div>
    </div>`;
  }
}

function Entry({ job, isShown, studio }) {
  const { remembering, queueing } = studio;
  const remove = studio.guarded(async () => {
    await remembering.remove(job);
    if (isFinal(job)) studio.sounds.close(job);
  });
  const { request } = job;
  const name = `job-${job.id}`;
  return html`<li class=${isShown ? 'shown' : ''}>
    <button type="button" class="open" id=${name} aria-current=${isShown ? 'true' : null} disabled=${job.outputs.length === 0}
      onClick=${() => studio.sounds.open(job)}>${request.prompt}</button>
    <small>${TASKS[request.task]} · <time datetime=${job.created_at}>${timeOf(job)}</time> · seed ${request.seed}</small>
    ${job.status === 'succeeded' ? null : html`<${State} job=${job} />`}
    <div class="row">
      <${Stars} job=${job} name=${name} remembering=${remembering} />
      <button type="button" aria-describedby=${name} onClick=${() => studio.making.copy(request)}>Copy settings</button>
      <button type="button" aria-describedby=${name} onClick=${() => studio.jobs.send(request)}>Run again</button>
      ${request.source && html`<button type="button" aria-describedby=${name} onClick=${() => remembering.openSource(job)}>Its source</button>`}
      ${request.label && html`<button type="button" aria-describedby=${name} onClick=${() => queueing.open(request.label)}>Its set</button>`}
      <button type="button" aria-describedby=${name} onClick=${remove}>${isFinal(job) ? 'Delete' : 'Cancel'}</button>
    </div>
  </li>`;
}

/** A star for each sound of a job. */
function Stars({ job, name, remembering }) {
  return job.outputs.map((sound, i) => html`<${Star} key=${sound.id} sound=${sound} describedBy=${name} remembering=${remembering}
    number=${job.outputs.length > 1 ? i + 1 : null} />`);
}

export function Star({ sound, number = null, describedBy, remembering }) {
  if (sound?.is_starred === undefined) return null; // an upload
  const label = number === null ? 'Star' : `Star ${number}`;
  return html`<button type="button" class="star" aria-label=${label} title=${label} aria-pressed=${String(sound.is_starred)} aria-describedby=${describedBy}
    onClick=${() => remembering.star(sound)}><${Icon} name="star" />${number}</button>`;
}

function timeOf(job) {
  const when = new Date(job.created_at);
  const isToday = when.toDateString() === new Date().toDateString();
  return isToday ? when.toLocaleTimeString([], { timeStyle: 'short' }) : when.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

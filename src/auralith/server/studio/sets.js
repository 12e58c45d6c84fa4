// A set of prompts as a grid: a row for each prompt, a cell for each variation.
import { Button, Text } from './fields.js';
import { Component, createRef, html } from './html.js';
import { Icon } from './icons.js';
import { isFinal } from './jobs.js';

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -99], End: [0, 99] };

export function Sets({ studio }) {
  const { queueing, state } = studio;
  return html`<section class="card sets" aria-labelledby="set-title">
    <div class="head"><h2 id="set-title" tabindex="-1">${state.set === null ? 'Sets' : html`Set <span class="own">${state.set}</span>`}</h2>
      ${state.set !== null && html`<${Button} icon="close" label="Close the set" kind="quiet" onClick=${() => queueing.close()} />`}</div>
    ${state.set === null ? html`<${Draft} studio=${studio} />` : html`<${Grid} studio=${studio} />`}
  </section>`;
}

function Draft({ studio }) {
  const { queueing, state: { draft } } = studio;
  const onFile = (event) => {
    const [file] = event.target.files;
    event.target.value = ''; // so that the same one can be chosen again
    if (file) queueing.take(file);
  };
  return html`<div class="field"><label for="set-text">Prompts, one a line, or a table (CSV) with a column prompt and others called like settings</label>
      <textarea id="set-text" rows="3" value=${draft.text} onInput=${(event) => queueing.setDraft({ text: event.target.value })}
        aria-invalid=${draft.problem ? 'true' : null} aria-describedby=${draft.problem ? 'set-problem' : null} placeholder="a door that slams\na dog far away"></textarea>
      ${draft.problem && html`<p id="set-problem" role="alert" class="problem">${draft.problem}</p>`}</div>
    <div class="row"><${Text} id="set-label" label="Name" isWide value=${draft.label} placeholder="the date and the time" onValue=${(label) => queueing.setDraft({ label })} />
      <${Text} id="set-n" label="Sounds each" isNumber value=${draft.n} onValue=${(n) => queueing.setDraft({ n })} />
      <label class="file"><${Icon} name="open" />Open a table <input type="file" accept=".csv,.tsv,.txt,text/csv,text/plain" onChange=${onFile} /></label>
      <${Button} kind="primary" text="Make the set" isDisabled=${!draft.text.trim()} onClick=${queueing.begin} /></div>
    <p class="hint">The rest is as the form above says.</p>
    ${queueing.labels.length > 0 && html`<h3>Sets so far</h3><ul class="labels">${queueing.labels.map((label) => html`<li key=${label}>
      <button type="button" onClick=${() => queueing.open(label)}>${label}</button></li>`)}</ul>`}`;
}

/** The arrow keys move between cells; Enter plays one, S stars it. */
class Grid extends Component {
  state = { at: [0, 0] };
  #table = createRef();

  render({ studio }, { at }) {
    const { queueing, remembering, state: { feeding, set } } = studio;
    const { rows } = queueing;
    const columns = Math.max(1, ...rows.map((row) => (Number.isInteger(row.n) ? row.n : 1)));
    const [row, column] = [Math.min(at[0], Math.max(0, rows.length - 1)), Math.min(at[1], columns - 1)];
    const { length: stars } = queueing.starred;
    const onKey = (event) => {
      const sound = rows[row]?.job?.outputs[column];
      if (event.key.toLowerCase() === 's' && sound && !event.ctrlKey && !event.metaKey) remembering.star(sound);
      else if (!(event.key in STEPS)) return;
      else this.#move(row + STEPS[event.key][0], column + STEPS[event.key][1], rows.length, columns);
      event.preventDefault();
      event.stopPropagation(); // the page has keys of its own
    };
    return html`<p class="facts" role="status">${summary(rows, stars)}</p>
      ${feeding && html`<p class="warning">${feeding}</p>`}
      <div class="row"><${Button} icon="download" text=${`Download starred (${stars})`} isDisabled=${stars === 0} onClick=${queueing.saveStarred} />
        <${Button} text="Cancel what waits" isDisabled=${rows.every(isOver)} onClick=${queueing.stop} /></div>
      <div class="scroll"><table role="grid" ref=${this.#table} aria-label=${`Set ${set}`} onKeyDown=${onKey}>
        <tbody>${rows.map((one, i) => html`<tr key=${one.id}><th scope="row">${one.prompt}${one.problem && html`<small class="problem">${one.problem}</small>`}</th>
          ${Array.from({ length: columns }, (_, k) => html`<${Cell} key=${k} studio=${studio} row=${one} index=${k} isAt=${i === row && k === column}
            onFocus=${() => this.setState({ at: [i, k] })} />`)}</tr>`)}</tbody></table></div>
      <p class="hint">Arrow keys move between cells, Enter plays one, S stars it. Rows that were not sent yet wait in this browser; the rest is on the server.</p>`;
  }

  #move(row, column, rows, columns) {
    const at = [Math.max(0, Math.min(rows - 1, row)), Math.max(0, Math.min(columns - 1, column))];
    this.setState({ at });
    this.#table.current.rows[at[0]].cells[at[1] + 1].querySelector('button').focus();
  }
}

function Cell({ studio, row, index, isAt, onFocus }) {
  const { queueing, remembering, sounds } = studio;
  const sound = row.job?.outputs[index];
  const isHeard = sound !== undefined && sounds.sound?.id === sound.id;
  if (!(index < row.n)) return html`<td></td>`;
  const text = sound ? `Play ${index + 1}` : stateOf(row, index);
  return html`<td class=${isHeard ? 'chosen' : ''}><button type="button" class="cell" tabindex=${isAt ? 0 : -1} aria-disabled=${sound ? null : 'true'}
      aria-label=${`${text}${sound?.is_starred ? ', starred' : ''}, ${row.prompt}`} onFocus=${onFocus} onClick=${() => sound && queueing.play(row.job, index)}>
      ${sound ? html`<${Icon} name=${isHeard && !sounds.player.paused ? 'volume' : 'play' } />${index + 1}` : html`<small>${text}</small>`}</button>
    ${sound && html`<button type="button" class="star" tabindex="-1" aria-label=${`Star ${index + 1}, ${row.prompt}`} aria-pressed=${String(sound.is_starred)}
      onClick=${() => remembering.star(sound)}><${Icon} name="star" /></button>`}</td>`;
}

function stateOf({ job, problem }, index) {
  if (problem) return 'refused';
  if (!job) return 'not sent yet';
  if (job.status !== 'running') return job.status;
  return job.outputs.length === index && job.progress?.of ? `${job.progress.step} of ${job.progress.of}` : 'waits';
}

function isOver({ job, problem }) {
  return Boolean(problem) || (job !== undefined && isFinal(job));
}

function summary(rows, stars) {
  const done = rows.filter(isOver).length;
  const sounds = rows.reduce((total, { job }) => total + (job?.outputs.length ?? 0), 0);
  return `${done} of ${rows.length} prompts done, ${sounds} sounds, ${stars} starred`;
}

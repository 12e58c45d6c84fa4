// What can be made of the sound that is heard: of a part of it, or of all of it.
import { between } from './compare.js';
import { Button, Choice, Text } from './fields.js';
import { html } from './html.js';
import { Settings } from './settings.js';
import { further, modelOf } from './request.js';
import { Tree } from './tree.js';

export function Edit({ studio }) {
  const { sounds: { buffer }, lineage, state: { shown } } = studio;
  if (!shown || !buffer || shown.isPreview) return null;
  return html`<section class="card edit" aria-labelledby="edit-title">
    <div class="head"><h2 id="edit-title">Edit</h2>
      <div class="group" role="group" aria-label="Versions">
        <${Button} icon="undo" label="Back to the source" keys="Control+Z" isDisabled=${!lineage.canUndo} onClick=${lineage.undo} />
        <${Button} icon="redo" label="On to what was made of it" keys="Control+Shift+Z" isDisabled=${!lineage.canRedo} onClick=${lineage.redo} /></div></div>
    <${Selection} studio=${studio} />
    <${Kept} studio=${studio} />
    <div class="whole"><${Vary} studio=${studio} /><${Extend} studio=${studio} /></div>
    <${Further} studio=${studio} />
    <${Tree} studio=${studio} />
  </section>`;
}

function Selection({ studio }) {
  const { sounds, editing, state: { selection } } = studio;
  const { buffer } = sounds;
  const [start, end] = selection ?? [0, buffer.duration];
  const moved = (which) => (event) => {
    const value = Number(event.target.value.replace(',', '.'));
    const next = which ? [start, value] : [value, end];
    const fits = next[0] >= 0 && next[0] < next[1] && next[1] <= buffer.duration + 5e-4;
    event.target.setCustomValidity(fits ? '' : `From comes before To, both from 0 to ${seconds(buffer.duration)}`);
    if (event.target.reportValidity()) editing.select([next[0], Math.min(next[1], buffer.duration)]);
  };
  return html`<fieldset class="part"><legend>Selection</legend>
    <div class="row"><${Text} id="from" label="From" value=${selection ? seconds(start) : ''} isNumber onCommit=${moved(0)} />
      <${Text} id="to" label="To" value=${selection ? seconds(end) : ''} isNumber onCommit=${moved(1)} />
      ${selection
        ? html`<${Button} kind="primary" icon="brush" text="Repaint" onClick=${() => editing.repaint()} />
            <${Button} icon="loop" text="Loop this" onClick=${() => sounds.audition()} />
            <${Button} icon="cut" text="Trim" onClick=${() => sounds.trim()} />
            <${Button} icon="download" text="Save cut" onClick=${() => sounds.saveCut()} />
            <${Button} text="Clear" kind="quiet" onClick=${() => editing.select(null)} />`
        : html`<${Button} text="Select all" onClick=${() => editing.select([0, buffer.duration])} />
            <p class="hint">Drag over the wave, type the seconds, or press [ and ] at the playhead.</p>`}
    </div></fieldset>`;
}

/** What of the source is there sample for sample. */
function Kept({ studio }) {
  const { sounds: { buffer, reference } } = studio;
  if (!reference) return null;
  const kept = between(reference.changed, buffer.duration);
  const share = kept.reduce((sum, [start, end]) => sum + end - start, 0) / buffer.duration;
  const spans = kept.map(([start, end]) => `${start.toFixed(2)}–${end.toFixed(2)} s`).join(', ');
  if (!kept.length) return html`<p class="kept none"><i></i>Every part differs from ${reference.name}.</p>`;
  if (!reference.changed.length) return html`<p class="kept"><i></i>The same samples as ${reference.name}.</p>`;
  return html`<p class="kept"><i></i>Unchanged from ${reference.name}, sample for sample: ${spans} (${Math.floor(share * 100)} %)</p>`;
}

function Vary({ studio }) {
  const { editing, state: { edit } } = studio;
  return html`<fieldset class="part"><legend>Vary</legend><div class="row">
    <div class="field slider"><label for="strength">Strength <b>${Number(edit.strength).toFixed(2)}</b></label>
      <input type="range" id="strength" min="0" max="1" step="0.01" value=${edit.strength}
        onInput=${(event) => editing.change({ strength: event.target.value })} /></div>
    <${Button} icon="vary" text="Vary" onClick=${() => editing.vary()} /></div></fieldset>`;
}

function Extend({ studio }) {
  const { editing, state: { edit } } = studio;
  const units = [['seconds', 'seconds'], ...(editing.grid.bpm ? [['bars', 'bars']] : [])];
  return html`<fieldset class="part"><legend>Extend</legend><div class="row">
    <${Button} icon="left" text="Extend left" onClick=${() => editing.extend('before')} />
    <div class="joined"><${Text} id="more" label="By" value=${edit.more} isNumber onValue=${(more) => editing.change({ more })} />
      <${Choice} id="unit" label="Unit" value=${edit.unit} values=${units} onValue=${(unit) => editing.change({ unit })} /></div>
    <${Button} icon="right" text="Extend right" onClick=${() => editing.extend('after')} /></div></fieldset>`;
}

/** Settings of each edit, whose defaults and limits the server says. */
function Further({ studio }) {
  const { editing, state } = studio;
  const { edits } = modelOf(state);
  const tasks = [['inpaint', 'Repaint'], ['vary', 'Vary'], ['extend', 'Extend']];
  return html`<details><summary>How edits are made</summary>${tasks.map(([task, name]) => html`<fieldset class="part" key=${task}><legend>${name}</legend>
    <div class="settings"><${Settings} settings=${further(edits[task])} values=${state.edit.settings[task]} prefix=${`${task}-`} problem=${state.problem}
      onValue=${(field, text) => editing.setMore(task, field, text)} /></div></fieldset>`)}</details>`;
}

function seconds(value) {
  return String(Math.round(value * 1000) / 1000);
}

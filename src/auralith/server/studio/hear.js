// A result: its variations at one playhead, and what can be made of it.
import { html } from './html.js';
import { copySettings, round } from './form.js';
import { Wave } from './wave.js';

export function Hear({ studio }) {
  const { sounds, editing, jobs, state: { shown, index, selection, form, edit } } = studio;
  if (!shown) return null;
  const { sound, buffer, player } = sounds;
  const [start, end] = selection ?? [0, buffer?.duration];
  const loops = player.isLooping;
  const moved = (which) => (event) => {
    const value = Number(event.target.value);
    const next = which ? [start, value] : [value, end];
    const fits = next[0] >= 0 && next[0] < next[1] && next[1] <= buffer.duration;
    event.target.setCustomValidity(fits ? '' : `From comes before To, both from 0 to ${round3(buffer.duration)}`);
    if (event.target.reportValidity()) sounds.select(next);
  };
  return html`<section class="card" aria-labelledby="hear">
    <h2 id="hear">Hear</h2>
    <p class="prompt">${shown.name}</p>
    ${shown.sounds.length > 1 && html`<div class="row" role="group" aria-label="Which variation">
      ${shown.sounds.map((one, i) => html`<button type="button" key=${one.id} aria-pressed=${i === index}
        onClick=${() => sounds.pick(i)}>${i + 1}${one.seed === undefined ? '' : html` <small>seed ${one.seed}</small>`}</button>`)}
    </div>`}
    ${buffer
      ? html`<${Wave} buffer=${buffer} player=${player} selection=${selection} onSelect=${(next) => sounds.select(next)} />`
      : html`<p>Reading the sound …</p>`}
    <div class="row">
      <button type="button" class="primary" disabled=${!buffer} onClick=${() => player.toggle()}>
        ${player.paused ? 'Play' : 'Stop'}</button><kbd>Space</kbd>
      <button type="button" aria-pressed=${loops} disabled=${!buffer} onClick=${() => sounds.loop()}>
        ${selection ? 'Loop selection' : 'Loop'}</button><kbd>L</kbd>
      ${sound.url && html`<button type="button" onClick=${() => sounds.download()}>Download</button>`}
    </div>
    <p class="facts">${round(sound.seconds)} s, ${sound.sample_rate.toLocaleString('en')} Hz${
      sound.seed === undefined ? '' : `, seed ${sound.seed}`}${
      typeof sound.peak_dbfs === 'number' ? `, peak ${sound.peak_dbfs} dBFS` : ''}</p>
    ${sound.request && html`<div class="row"><span>This file says how it was made.</span>
      <button type="button" onClick=${() => jobs.send(sound.request, sound)}>Make it again</button>
      <button type="button" onClick=${() => copySettings(studio, sound.request)}>Copy its settings</button></div>`}
    ${(sound.warnings ?? []).map((warning) => html`<p class="warning" key=${warning}>${warning}</p>`)}
    ${buffer && html`<fieldset><legend>Selection <small>drag over the wave, or type</small></legend><div class="row">
      <${Seconds} id="from" label="From" value=${selection ? round3(start) : ''} onChange=${moved(0)} />
      <${Seconds} id="to" label="To" value=${selection ? round3(end) : ''} onChange=${moved(1)} />
      ${selection
        ? html`<button type="button" onClick=${() => editing.repaint()}>Repaint</button>
            <button type="button" onClick=${() => sounds.trim()}>Save cut</button>
            <button type="button" onClick=${() => sounds.select(null)}>Clear</button>`
        : html`<button type="button" onClick=${() => sounds.select([0, buffer.duration])}>Select all</button>`}
    </div></fieldset>
    <fieldset><legend>Make from it <small>under the prompt above</small></legend><div class="row">
      <div class="field"><label for="strength">Strength ${Number(edit.strength).toFixed(2)}</label>
        <input type="range" id="strength" min="0" max="1" step="0.01" value=${edit.strength}
          onInput=${(event) => editing.change({ strength: event.target.value })} /></div>
      <button type="button" onClick=${() => editing.vary()}>Vary</button>
      <${Seconds} id="more" label="Seconds more" value=${edit.more} onChange=${(event) => editing.change({ more: event.target.value })} />
      <button type="button" onClick=${() => editing.extend('before')}>Extend left</button>
      <button type="button" onClick=${() => editing.extend('after')}>Extend right</button>
    </div>${!form.prompt.trim() && html`<small>Needs a prompt.</small>`}</fieldset>`}
  </section>`;
}

function Seconds({ id, label, value, onChange }) {
  return html`<div class="number field"><label for=${id}>${label}</label>
    <input id=${id} value=${value} onChange=${onChange} inputmode="decimal" autocomplete="off" /></div>`;
}

function round3(seconds) {
  return String(Math.round(seconds * 1000) / 1000);
}

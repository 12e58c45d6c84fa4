// What is heard: its variations at one playhead, its wave and spectrogram, its level, and its files.
import { Button, Choice, Segments, Text } from './fields.js';
import { SNAPS } from './grid.js';
import { troubles } from './health.js';
import { Component, html } from './html.js';
import { Star } from './history.js';
import { Icon } from './icons.js';
import { Level } from './level.js';
import { round } from './form.js';
import { Thumbnail } from './thumbnail.js';
import { Wave } from './wave.js';

const VIEWS = [['wave', 'Wave'], ['mel', 'Spectrogram'], ['both', 'Both']];
const MOST_ZOOM = 64;

export class Hear extends Component {
  state = { view: 'wave', zoom: 1, format: '' };

  render({ studio }, { view, zoom, format }) {
    const { sounds, editing, state } = studio;
    if (!state.shown) return html`<section class="card empty"><p>Describe a sound above, or drop a file here.</p></section>`;
    const { sound, buffer, reference } = sounds;
    const warnings = sound.warnings ?? (buffer && !state.shown.isPreview ? troubles(buffer) : []);
    const zoomTo = (next) => this.setState({ zoom: Math.max(1, Math.min(MOST_ZOOM, next)) });
    return html`<section class="card hear" aria-labelledby="hear-title">
      <div class="head"><h2 id="hear-title">Hear</h2>
        <p class="prompt">${state.shown.name}${state.shown.isPreview && html` <small>so far</small>`}</p>
        <${Star} sound=${sound} remembering=${studio.remembering} /></div>
      <${Arrived} studio=${studio} />
      <${Takes} studio=${studio} />
      <div class="tools">
        <${Segments} name="view" label="View" value=${view} values=${VIEWS} onValue=${(next) => this.setState({ view: next })} />
        <div class="group" role="group" aria-label="Zoom"><${Button} icon="minus" label="Zoom out" isDisabled=${zoom === 1} onClick=${() => zoomTo(zoom / 2)} />
          <${Button} icon="plus" label="Zoom in" isDisabled=${zoom === MOST_ZOOM} onClick=${() => zoomTo(zoom * 2)} /></div>
        <${Grid} editing=${editing} />
      </div>
      ${buffer
        ? html`<${Wave} buffer=${state.isReference ? reference.buffer : buffer} player=${sounds.player} view=${view} zoom=${zoom}
            selection=${state.selection} grid=${editing.grid} difference=${state.isReference ? null : reference}
            onSelect=${(next) => editing.select(next)} />`
        : html`<div class="wave reading"><p>Reading the sound …</p></div>`}
      <${Transport} studio=${studio} />
      <div class="row last">
        <${Facts} sound=${sound} />
        ${!state.shown.isPreview && html`<${Files} studio=${studio} format=${format} onFormat=${(next) => this.setState({ format: next })} />`}
      </div>
      ${warnings.map((warning) => html`<p class="warning" key=${warning}>${warning}</p>`)}
      <${Origin} studio=${studio} sound=${sound} />
    </section>`;
  }
}

/** A sound that was made while another one played. */
function Arrived({ studio }) {
  const { arrived } = studio.state;
  if (!arrived) return null;
  return html`<p class="arrived">New: <span>${arrived.request.prompt}</span>
    <${Button} text="Show it" onClick=${() => studio.sounds.open(arrived)} /></p>`;
}

function Takes({ studio }) {
  const { sounds, state: { shown, index } } = studio;
  if (shown.sounds.length < 2) return null;
  return html`<div class="takes" role="group" aria-label="Which variation">
    ${shown.sounds.map((one, i) => html`<button type="button" key=${one.id} aria-pressed=${String(i === index)} aria-keyshortcuts=${i < 9 ? i + 1 : null}
      onClick=${() => sounds.pick(i)}><span>${i + 1}${one.seed === undefined ? '' : html` <small>seed ${one.seed}</small>`}</span>
      <${Thumbnail} buffer=${sounds.samples(one.id)} /></button>`)}
  </div>`;
}

/** Where selections snap to; the tempo, unless it is the sound's own. */
function Grid({ editing }) {
  const { grid } = editing;
  const hasTempo = grid.snap === 'bar' || grid.snap === 'beat';
  return html`<div class="group grid"><${Choice} id="snap" label="Snap to" value=${grid.snap} values=${SNAPS}
      onValue=${(snap) => editing.setGrid({ snap })} />
    ${hasTempo && html`<${Text} id="grid-bpm" label="at BPM" value=${grid.bpm} isNumber
        onCommit=${(event) => editing.setGrid({ bpm: event.target.value })} />
      <${Text} id="grid-beats" label="Beats per bar" value=${grid.beats} isNumber
        onCommit=${(event) => editing.setGrid({ bpm: grid.bpm, beats: event.target.value })} />`}
  </div>`;
}

function Transport({ studio }) {
  const { sounds, state } = studio;
  const { player, buffer, reference } = sounds;
  const isDisabled = !buffer;
  return html`<div class="transport">
    <button type="button" class="primary play" disabled=${isDisabled} aria-keyshortcuts="Space" onClick=${() => player.toggle()}>
      <${Icon} name=${player.paused ? 'play' : 'stop'} />${player.paused ? 'Play' : 'Stop'}</button>
    <${Button} icon="loop" text=${state.selection ? 'Loop selection' : 'Loop'} isOn=${player.isLooping} isDisabled=${isDisabled} keys="L"
      onClick=${() => sounds.loop()} />
    <${Button} text="A / B" label=${`A / B: compare with ${reference?.name ?? 'a source'}`} isOn=${state.isReference} isDisabled=${!reference} keys="B"
      onClick=${() => sounds.swap()} />
    <${Button} icon="pin" label="Compare others with this one" kind="quiet" isOn=${state.pinned !== null && state.pinned.sound.id === sounds.sound.id}
      isDisabled=${isDisabled} onClick=${() => sounds.pin()} />
    <${Time} player=${player} />
    <${Level} player=${player} channels=${Math.min(2, buffer?.numberOfChannels ?? 1)} />
    <label class="volume"><${Icon} name="volume" /><span class="hidden">Volume</span>
      <input type="range" min="0" max="1" step="0.01" value=${player.volume} onInput=${(event) => { player.volume = Number(event.target.value); }} /></label>
    <p class="heard">${reference && (state.isReference ? `B: ${reference.name}` : `A: this sound; B: ${reference.name}`)}</p>
  </div>`;
}

class Time extends Component {
  #tick = () => this.setState({});

  componentDidMount() {
    this.props.player.addEventListener('timeupdate', this.#tick);
  }

  componentWillUnmount() {
    this.props.player.removeEventListener('timeupdate', this.#tick);
  }

  render({ player }) {
    return html`<p class="time" aria-hidden="true">${player.currentTime.toFixed(2)} / ${player.duration.toFixed(2)} s</p>`;
  }
}

function Facts({ sound }) {
  const facts = [
    `${round(sound.seconds)} s`, `${sound.sample_rate.toLocaleString('en')} Hz`, sound.channels === 1 ? 'mono' : 'stereo',
    sound.seed === undefined ? null : `seed ${sound.seed}`,
    typeof sound.peak_dbfs === 'number' ? `peak ${sound.peak_dbfs} dBFS` : null,
  ];
  return html`<p class="facts">${facts.filter(Boolean).join(' · ')}</p>`;
}

/** The sound as a file, saved or dragged out of the page. */
function Files({ studio, format, onFormat }) {
  const { sounds, state: { limits } } = studio;
  const isUpload = sounds.sound.seed === undefined; // which is given as it is
  const chosen = isUpload ? null : format || null;
  const save = (event) => {
    event.preventDefault(); // a link can't send the key
    sounds.download(chosen);
  };
  return html`<div class="files joined">${!isUpload && html`<${Choice} id="download-format" label="File format" value=${format} onValue=${onFormat}
      values=${[['', 'as made'], ...limits.formats.map((one) => [one, one])]} />`}
    <a class="button" href=${sounds.address(chosen)} draggable="true" onClick=${save}
      onDragStart=${(event) => sounds.dragOut(event, chosen)} title="Save, or drag into another program"><${Icon} name="download" />Download</a></div>`;
}

function Origin({ studio, sound }) {
  if (!sound.request) return null;
  return html`<div class="row origin"><span>This file says how it was made.</span>
    <${Button} text="Make it again" onClick=${() => studio.jobs.send(sound.request, sound)} />
    <${Button} text="Copy its settings" onClick=${() => studio.making.copy(sound.request)} /></div>`;
}

// Suspect and match, one above the other on one stretch of time, and what plays them.
import { Component, html } from './html.js';
import { Wave } from './wave.js';

const VIEW = 'auralith-review-view';

export class Compare extends Component {
  state = { view: localStorage.getItem(VIEW) ?? 'wave' };

  componentDidMount() {
    this.props.reviewing.listening.player.addEventListener('timeupdate', this.tick);
    this.placed = null;
    this.place();
  }

  componentDidUpdate() {
    this.place();
  }

  /** Have waves that were drawn just now show where the playhead is. */
  place() {
    const { player, sounds } = this.props.reviewing.listening;
    if (this.placed === sounds) return;
    this.placed = sounds;
    setTimeout(() => player.dispatchEvent(new Event('timeupdate')));
  }

  look(view) {
    localStorage.setItem(VIEW, view);
    this.placed = null;
    this.setState({ view });
  }

  componentWillUnmount() {
    this.props.reviewing.listening.player.removeEventListener('timeupdate', this.tick);
  }

  tick = () => this.setState({});

  render({ reviewing, item }, { view }) {
    const { listening } = reviewing;
    const { sounds, player, state: { side, match, frame } } = listening;
    if (!sounds) return null;
    const hasOther = item.matches.length > 0;
    const isMel = view === 'both';
    return html`<div class="sides">
      <div class="transport">
        <button type="button" class="primary" disabled=${!listening.buffer(side)} onClick=${() => player.toggle()}>${player.paused ? 'Play' : 'Pause'} <kbd>Space</kbd></button>
        <button type="button" aria-pressed=${player.isLooping} disabled=${!listening.buffer(side)} onClick=${() => listening.loop()}>Loop <kbd>L</kbd></button>
        <span class="time">${clock(frame.suspect + player.currentTime)}${sounds.other ? ` · ${clock(frame.other + player.currentTime)}` : ''}</span>
        <span class="gap"></span>
        ${item.matches.length > 1 && html`<button type="button" onClick=${() => another(reviewing)}>Next match <kbd>M</kbd></button>`}
        <button type="button" disabled=${frame.earlier === null} onClick=${() => elsewhere(reviewing, 'earlier')}>Earlier <kbd>[</kbd></button>
        <button type="button" disabled=${frame.later === null} onClick=${() => elsewhere(reviewing, 'later')}>Later <kbd>]</kbd></button>
        <button type="button" aria-pressed=${isMel} onClick=${() => this.look(isMel ? 'wave' : 'both')}>Spectrogram</button>
      </div>
      <${Side} name="suspect" label="Suspect" keys="A" side=${item.suspect} start=${frame.suspect}
        sound=${sounds.suspect} listening=${listening} view=${view} />
      ${hasOther && html`<${Side} name="other" label=${item.matches.length > 1 ? `Match ${match + 1} of ${item.matches.length}` : 'Match'} keys="B"
        side=${item.matches[match]} start=${frame.other}
        sound=${sounds.other} listening=${listening} view=${view} />`}
      ${!hasOther && html`<p class="facts">Nothing to compare it with: judge by its sound and the evidence below.</p>`}
      ${item.matches.length > 0 && !frame.isAligned && html`<p class="facts">Only title and artist match${
        sounds.other ? '' : '; there is no second sound'}.</p>`}
    </div>`;
  }
}

/** Hear the next match of the item that is shown. */
export function another(reviewing) {
  const { state: { item }, listening } = reviewing;
  if (item?.matches.length > 1) listening.look(item, (listening.state.match + 1) % item.matches.length, 0);
}

/** Hear an earlier or a later stretch of both sounds. */
export function elsewhere(reviewing, direction) {
  const { state: { item }, listening } = reviewing;
  const from = listening.state.frame?.[direction] ?? null;
  if (item && from !== null) listening.look(item, listening.state.match, from);
}

function Side({ name, label, keys, side, start, sound, listening, view }) {
  const isHeard = listening.state.side === name;
  const isThere = sound instanceof AudioBuffer;
  return html`<section class=${isHeard ? 'side heard' : 'side'} aria-label=${label}>
    <div class="name"><button type="button" aria-pressed=${isHeard} disabled=${!isThere} onClick=${() => listening.hear(name)}>${label} <kbd>${keys}</kbd></button>
      <span class="text">${side.author && html`<bdi>${side.author}</bdi> – `}<bdi>${side.title || side.id}</bdi></span>
      ${isThere && html`<${Place} whole=${side.seconds} start=${start} seconds=${sound.duration} />`}</div>
    ${isThere ? html`<${Wave} height=${110} buffer=${sound} player=${listening.player} selection=${listening.state.selection} view=${view}
      zoom=${1} onSelect=${(selection) => listening.select(selection)} />`
      : html`<p class=${sound ? 'problem' : 'facts'}>${sound ?? 'There is no sound of it here.'}</p>`}
  </section>`;
}

/** Where the stretch lies in the whole sound. */
function Place({ whole, start, seconds }) {
  if (!whole) return null;
  const [from, to] = [Math.max(0, start), Math.min(whole, start + seconds)];
  if (from <= 0 && to >= whole - 0.05) return null;
  return html`<svg class="place" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=${`${clock(from)} to ${clock(to)} of ${clock(whole)}`}>
    <rect width="100" height="4" rx="2" /><rect class="here" x=${(100 * from) / whole} width=${Math.max(1, (100 * (to - from)) / whole)} height="4" rx="2" /></svg>`;
}

function clock(seconds) {
  const size = Math.abs(seconds);
  return `${seconds < -0.05 ? '−' : ''}${Math.floor(size / 60)}:${(size % 60).toFixed(1).padStart(4, '0')}`;
}

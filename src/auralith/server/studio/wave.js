// A sound as waveform and mel spectrogram, with a selection that is dragged or typed.
import { Component, createRef, html } from './html.js';
import WaveSurfer from './node_modules/wavesurfer.js/dist/wavesurfer.esm.js';
import Regions from './node_modules/wavesurfer.js/dist/plugins/regions.esm.js';
import Spectrogram from './node_modules/wavesurfer.js/dist/plugins/spectrogram.esm.js';
import { color } from './color.js';
import { drawOverlay } from './overlay.js';

const SHORTEST = 0.01; // seconds of a selection
const DARK = matchMedia('(prefers-color-scheme: dark)');
const PHONE = matchMedia('(width < 40rem)');
const TALL = () => (PHONE.matches ? 144 : 224); // pixels of a wave's height
const LANE = 72; // pixels from which on each channel has a wave of its own

/** A wave of a buffer; the view, the grid, the difference, the zoom and the height may be left out. */
export class Wave extends Component {
  #place = createRef();
  #wave = null;
  #regions = null;
  #region = null;
  #overlay = null;
  #isShowing = false;
  #resized = new ResizeObserver(() => this.#drawOver());

  componentDidMount() {
    this.#draw();
    this.props.player.addEventListener('timeupdate', this.#tick);
    for (const query of [DARK, PHONE]) query.addEventListener('change', this.#draw);
  }

  componentDidUpdate(before) {
    const { buffer, view, selection, grid, difference, zoom } = this.props;
    if (before.buffer !== buffer || before.view !== view) {
      this.#draw();
      return;
    }
    if (before.selection !== selection) this.#show();
    if (before.zoom !== zoom) this.#zoom();
    if (before.grid !== grid || before.difference !== difference) this.#drawOver();
  }

  componentWillUnmount() {
    this.props.player.removeEventListener('timeupdate', this.#tick);
    for (const query of [DARK, PHONE]) query.removeEventListener('change', this.#draw);
    this.#resized.disconnect();
    this.#wave?.destroy();
  }

  #tick = () => this.setState({});

  #draw = () => {
    this.#wave?.destroy();
    this.#region = null;
    const { buffer, player, view, height = TALL() } = this.props;
    const channels = Math.min(2, buffer.numberOfChannels);
    const lanes = height >= channels * LANE ? channels : 1;
    const lane = view === 'mel' ? 0 : height / lanes;
    this.#regions = Regions.create();
    const spectrogram = () =>
      Spectrogram.create({ height: height / lanes, scale: 'mel', fftSamples: 1024, labels: false, splitChannels: lanes > 1 });
    const peaks = Array.from({ length: channels }, (_, i) => buffer.getChannelData(i));
    this.#wave = WaveSurfer.create({
      container: this.#place.current,
      media: player,
      peaks,
      duration: buffer.duration,
      sampleRate: buffer.sampleRate,
      height: lane,
      splitChannels: lanes > 1 ? peaks.map(() => ({ height: lane })) : undefined,
      waveColor: color('--wave'),
      progressColor: color('--accent'),
      cursorColor: color('--text'),
      cursorWidth: 2,
      dragToSeek: false,
      autoCenter: false,
      cspNonce: document.querySelector('meta[name=style-nonce]').content,
      plugins: [this.#regions, ...(view === 'wave' ? [] : [spectrogram()])],
    });
    this.#regions.enableDragSelection({ color: color('--selection') });
    this.#regions.on('region-created', (region) => this.#take(region)); // a drag gives this event alone
    this.#regions.on('region-updated', (region) => this.#take(region));
    this.#wave.on('ready', () => {
      this.#zoom();
      this.#show();
      player.dispatchEvent(new Event('timeupdate')); // the playhead may be anywhere
    });
    this.#overlay = Object.assign(document.createElement('canvas'), { className: 'overlay' });
    Object.assign(this.#overlay.style, { position: 'absolute', inset: '0', width: '100%', height: '100%', pointerEvents: 'none', zIndex: '4' });
    this.#wave.getWrapper().append(this.#overlay);
    this.#resized.disconnect();
    this.#resized.observe(this.#overlay);
  };

  #drawOver() {
    const { view, height = TALL() } = this.props;
    const waveHeight = view === 'mel' ? 0 : height;
    if (this.#overlay?.clientWidth) drawOverlay(this.#overlay, { ...this.props, waveHeight }, color);
  }

  #zoom() {
    const { zoom, buffer } = this.props;
    this.#wave.zoom(zoom > 1 ? (zoom * this.#place.current.clientWidth) / buffer.duration : 0);
  }

  #take(region) {
    if (this.#isShowing) return;
    if (region !== this.#region) this.#region?.remove();
    this.#region = region;
    const end = Math.min(region.end, this.props.buffer.duration);
    this.props.onSelect(end - region.start < SHORTEST ? null : [region.start, end]);
    this.#show(); // though it may be the same selection again
  }

  #show() {
    const { selection } = this.props;
    this.#isShowing = true;
    if (!selection) {
      this.#region?.remove();
      this.#region = null;
    } else if (this.#region) {
      this.#region.setOptions({ start: selection[0], end: selection[1] });
    } else {
      this.#region = this.#regions.addRegion({ start: selection[0], end: selection[1], color: color('--selection') });
    }
    this.#isShowing = false;
  }

  #onKey = (event) => {
    const { player, selection, onSelect, buffer } = this.props;
    const time = player.currentTime;
    const step = event.shiftKey ? 1 : 0.1;
    const times = { ArrowLeft: time - step, ArrowRight: time + step, Home: 0, End: player.duration };
    if (event.key in times) player.currentTime = times[event.key];
    else if (event.key === '[') onSelect([time, Math.max(selection?.[1] ?? 0, Math.min(time + SHORTEST, buffer.duration))]);
    else if (event.key === ']') onSelect([Math.min(selection?.[0] ?? 0, Math.max(0, time - SHORTEST)), time]);
    else if (event.key === 'Escape') onSelect(null);
    else return;
    event.preventDefault();
  };

  render({ buffer, player }) {
    const time = player.currentTime;
    return html`<div class="wave" role="slider" tabindex="0" aria-label="Playhead" aria-valuemin="0"
      aria-valuemax=${buffer.duration.toFixed(2)} aria-valuenow=${time.toFixed(2)}
      aria-valuetext=${`${time.toFixed(1)} of ${buffer.duration.toFixed(1)} seconds`} onKeyDown=${this.#onKey}>
      <div ref=${this.#place}></div>
    </div>`;
  }
}

// A sound as waveform and mel spectrogram, with a selection that is dragged or typed.
import { Component, createRef, html } from './html.js';
import WaveSurfer from './node_modules/wavesurfer.js/dist/wavesurfer.esm.js';
import Regions from './node_modules/wavesurfer.js/dist/plugins/regions.esm.js';
import Spectrogram from './node_modules/wavesurfer.js/dist/plugins/spectrogram.esm.js';

const SHORTEST = 0.01; // seconds of a selection

export class Wave extends Component {
  #place = createRef();
  #wave = null;
  #regions = null;
  #region = null;

  componentDidMount() {
    this.#draw();
    this.props.player.addEventListener('timeupdate', this.#tick);
  }

  componentDidUpdate(before) {
    if (before.buffer !== this.props.buffer) this.#draw();
    else if (before.selection !== this.props.selection) this.#show();
  }

  componentWillUnmount() {
    this.props.player.removeEventListener('timeupdate', this.#tick);
    this.#wave?.destroy();
  }

  #tick = () => this.setState({});

  #draw() {
    this.#wave?.destroy();
    this.#region = null;
    const { buffer, player } = this.props;
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    this.#regions = Regions.create();
    this.#wave = WaveSurfer.create({
      container: this.#place.current,
      media: player,
      peaks: Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i)),
      duration: buffer.duration,
      height: 96,
      waveColor: color('--wave'),
      progressColor: color('--accent'),
      cursorColor: color('--text'),
      cursorWidth: 2,
      dragToSeek: false,
      cspNonce: document.querySelector('meta[name=style-nonce]').content,
      plugins: [this.#regions, Spectrogram.create({ height: 128, scale: 'mel', fftSamples: 1024, labels: false })],
    });
    this.#regions.enableDragSelection({ color: color('--selection') });
    this.#regions.on('region-created', (region) => this.#take(region)); // a drag gives this event alone
    this.#regions.on('region-updated', (region) => this.#take(region));
    this.#wave.on('ready', () => this.#show());
  }

  #take(region) {
    if (this.isShowing) return;
    if (region !== this.#region) this.#region?.remove();
    this.#region = region;
    const end = Math.min(region.end, this.props.buffer.duration);
    this.props.onSelect(end - region.start < SHORTEST ? null : [region.start, end]);
  }

  #show() {
    const { selection } = this.props;
    this.isShowing = true;
    if (!selection) {
      this.#region?.remove();
      this.#region = null;
    } else if (this.#region) {
      this.#region.setOptions({ start: selection[0], end: selection[1] });
    } else {
      const color = getComputedStyle(document.documentElement).getPropertyValue('--selection').trim();
      this.#region = this.#regions.addRegion({ start: selection[0], end: selection[1], color });
    }
    this.isShowing = false;
  }

  #onKey = (event) => {
    const { player } = this.props;
    const step = event.shiftKey ? 1 : 0.1;
    const times = {
      ArrowLeft: player.currentTime - step,
      ArrowRight: player.currentTime + step,
      Home: 0,
      End: player.duration,
    };
    if (!(event.key in times)) return;
    event.preventDefault();
    player.currentTime = times[event.key];
  };

  render({ buffer, player }) {
    const time = player.currentTime;
    return html`<div class="wave" role="slider" tabindex="0" aria-label="Playhead" aria-valuemin="0"
      aria-valuemax=${buffer.duration.toFixed(2)} aria-valuenow=${time.toFixed(2)}
      aria-valuetext=${`${time.toFixed(1)} of ${buffer.duration.toFixed(1)} seconds`} onKeyDown=${this.#onKey}>
      <div ref=${this.#place}></div>
    </div>
    <p class="time" aria-hidden="true">${time.toFixed(2)} / ${buffer.duration.toFixed(2)} s</p>`;
  }
}

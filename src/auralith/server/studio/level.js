// A meter of the level that is heard: peaks that fall slowly, and a mark where the sound has been too loud.
import { color } from './color.js';
import { Component, createRef, html } from './html.js';
import { FLOOR } from './meter.js';

const FALL = 24; // dB per second
const [WIDTH, LANE] = [160, 6];
const LOUD = 0.01; // dBFS from which samples are clipped: a sound may well reach full scale
const STILL = matchMedia('(prefers-reduced-motion: reduce)');
const SLOW = 250; // milliseconds between two looks, where motion should be little

export class Level extends Component {
  state = { isClipped: false };
  #place = createRef();
  #levels = [FLOOR, FLOOR];
  #last = 0;

  componentDidMount() {
    this.props.player.addEventListener('play', this.#begin);
    this.#draw();
  }

  componentWillUnmount() {
    this.props.player.removeEventListener('play', this.#begin);
  }

  #begin = () => {
    this.setState({ isClipped: false });
    this.#last = performance.now();
    this.#next();
  };

  #next() {
    if (STILL.matches) setTimeout(() => this.#look(performance.now()), SLOW);
    else requestAnimationFrame((now) => this.#look(now));
  }

  #look(now) {
    const { player } = this.props;
    if (!this.#place.current) return; // gone
    const fallen = ((now - this.#last) / 1000) * FALL;
    this.#last = now;
    const peaks = player.paused ? [FLOOR, FLOOR] : player.meter.read();
    this.#levels = this.#levels.map((level, i) => Math.max(FLOOR, peaks[i], level - fallen));
    if (!this.state.isClipped && Math.max(...peaks) > LOUD) this.setState({ isClipped: true });
    this.#draw();
    if (!player.paused || Math.max(...this.#levels) > FLOOR) this.#next();
  }

  #draw() {
    if (!this.#place.current) return;
    const context = this.#place.current.getContext('2d');
    context.clearRect(0, 0, 2 * WIDTH, 4 * LANE + 4);
    this.#levels.slice(0, this.props.channels).forEach((level, i) => {
      const top = i * (2 * LANE + 4);
      context.fillStyle = color('--line');
      context.fillRect(0, top, 2 * WIDTH, 2 * LANE);
      context.fillStyle = color(level > -6 ? '--warning' : '--accent');
      context.fillRect(0, top, 2 * WIDTH * (1 - level / FLOOR), 2 * LANE);
    });
  }

  render(_, { isClipped }) {
    return html`<div class="level"><canvas ref=${this.#place} width=${2 * WIDTH} height=${4 * LANE + 4} role="img" aria-label="Level meter"></canvas>
      <span class=${isClipped ? 'clip on' : 'clip'}>${isClipped ? 'clips' : ''}</span></div>`;
  }
}

// A small wave, to tell variations apart.
import { color } from './color.js';
import { Component, createRef, html } from './html.js';

const [WIDTH, HEIGHT] = [96, 28]; // points, at twice as many pixels

export class Thumbnail extends Component {
  #place = createRef();

  componentDidMount() {
    this.#draw();
  }

  componentDidUpdate(before) {
    if (before.buffer !== this.props.buffer || before.peaks !== this.props.peaks) this.#draw();
  }

  #draw() {
    const { buffer, peaks } = this.props;
    if (!buffer && !peaks) return;
    const context = this.#place.current.getContext('2d');
    const samples = peaks?.max ?? buffer.getChannelData(0);
    context.clearRect(0, 0, 2 * WIDTH, 2 * HEIGHT);
    context.fillStyle = color('--wave');
    for (let x = 0; x < WIDTH; x += 1) {
      const part = samples.slice(...[x, x + 1].map((at) => Math.floor((at * samples.length) / WIDTH)));
      const peak = part.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      const half = Math.max(1, Math.min(1, peak) * HEIGHT);
      context.fillRect(2 * x, HEIGHT - half, 1.4, 2 * half);
    }
  }

  render() {
    return html`<canvas ref=${this.#place} width=${2 * WIDTH} height=${2 * HEIGHT} aria-hidden="true"></canvas>`;
  }
}

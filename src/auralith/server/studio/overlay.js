// What is drawn over a wave: the lines of a tempo, and where the sound differs from the one that it was made from.
import { gridStep } from './grid.js';

const MOST_LINES = 400;
const MOST_PIXELS = 8_192; // in a row of a canvas

/** Draw over a wave {buffer, grid, difference, waveHeight}, below which there may be a spectrogram; in colors by name. */
export function drawOverlay(canvas, { buffer, grid = {}, difference, waveHeight }, color) {
  const scale = Math.min(window.devicePixelRatio, MOST_PIXELS / canvas.clientWidth);
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  const place = { context, width: canvas.clientWidth, height: canvas.clientHeight, color };
  if (difference) drawDifference({ ...place, waveHeight }, buffer, difference);
  drawGrid(place, buffer.duration, grid);
}

function drawGrid({ context, width, height, color }, duration, grid) {
  const beat = gridStep({ ...grid, snap: 'beat' });
  if (!beat || duration / beat > MOST_LINES) return;
  const beats = Number(grid.beats);
  context.font = '600 11px system-ui, sans-serif';
  for (let i = 0; i * beat < duration; i += 1) {
    const isBar = i % beats === 0;
    const x = Math.round((i * beat * width) / duration) + 0.5;
    context.strokeStyle = color(isBar ? '--bar' : '--beat');
    context.beginPath();
    context.moveTo(x, isBar ? 0 : height * 0.1);
    context.lineTo(x, isBar ? height : height * 0.9);
    context.stroke();
    if (isBar) {
      context.fillStyle = color('--quiet');
      context.fillText(String(i / beats + 1), x + 4, 12);
    }
  }
}

/** Draw the difference as a wave of its own, over that of each channel, and a strip below that is full where samples changed. */
function drawDifference({ context, width, height, waveHeight, color }, buffer, { values, changed }) {
  context.fillStyle = color('--changed');
  const lanes = Math.min(2, buffer.numberOfChannels);
  const lane = waveHeight / lanes;
  for (let x = 0; x < width; x += 1) {
    const [from, to] = [x, x + 1].map((at) => Math.floor((at * values.length) / width));
    let most = 0;
    for (let i = from; i < to; i += 1) most = Math.max(most, values[i]);
    const tall = Math.min(1, most) * lane;
    if (tall > 0) for (let i = 0; i < lanes; i += 1) context.fillRect(x, (i + 0.5) * lane - tall / 2, 1, Math.max(1, tall));
  }
  context.fillStyle = color('--kept');
  context.fillRect(0, height - 5, width, 5);
  context.fillStyle = color('--changed-strip');
  for (const [start, end] of changed) {
    const [from, to] = [start, end].map((seconds) => (seconds * width) / buffer.duration);
    context.fillRect(from, height - 5, Math.max(1, to - from), 5);
  }
}

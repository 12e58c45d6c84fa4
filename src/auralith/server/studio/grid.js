// Where the edges of a selection may lie: at bars or beats of a tempo, at zero crossings, or anywhere, but always at a sample.
const REACH = 0.03; // seconds in which a zero crossing is looked for

export const SNAPS = [['off', 'Off'], ['zero', 'Zero crossings'], ['beat', 'Beats'], ['bar', 'Bars']];

/** Return the seconds between two lines of a grid {snap, bpm, beats}; null where it has none. */
export function gridStep({ snap, bpm, beats }) {
  const [tempo, count] = [Number(bpm), Number(beats)];
  if (!(tempo > 0) || !(count > 0)) return null;
  if (snap === 'bar') return (60 * count) / tempo;
  return snap === 'beat' ? 60 / tempo : null;
}

/** Return a selection with its edges on the grid; at least one step wide. */
export function snapped([start, end], grid, buffer) {
  const step = gridStep(grid);
  let edges = [start, end].map((seconds) => snappedEdge(seconds, grid.snap, step, buffer));
  if (step && edges[1] <= edges[0]) edges = [edges[0], atSample(edges[0] + step, buffer)];
  if (edges[1] <= edges[0]) edges = [start, end].map((seconds) => atSample(seconds, buffer));
  return edges;
}

function snappedEdge(seconds, snap, step, buffer) {
  if (step) {
    const line = Math.round(seconds / step) * step;
    const isEnd = Math.abs(buffer.duration - seconds) < Math.abs(line - seconds) || line > buffer.duration;
    return isEnd ? buffer.duration : atSample(line, buffer);
  }
  return snap === 'zero' ? zeroCrossing(seconds, buffer) : atSample(seconds, buffer);
}

function atSample(seconds, { sampleRate, length }) {
  return Math.max(0, Math.min(Math.round(seconds * sampleRate), length)) / sampleRate;
}

/** Return the nearest second at which the sum of the channels changes its sign, or the same one where none is near. */
function zeroCrossing(seconds, buffer) {
  const { sampleRate, length, numberOfChannels } = buffer;
  const channels = Array.from({ length: numberOfChannels }, (_, i) => buffer.getChannelData(i));
  const sum = (at) => channels.reduce((total, samples) => total + samples[at], 0);
  const middle = Math.round(seconds * sampleRate);
  if (middle <= 0 || middle >= length) return atSample(seconds, buffer);
  for (let away = 0; away <= REACH * sampleRate; away += 1) {
    for (const at of [middle - away, middle + away]) {
      if (at > 0 && at < length && sum(at - 1) <= 0 && sum(at) >= 0) return at / sampleRate;
    }
  }
  return atSample(seconds, buffer);
}

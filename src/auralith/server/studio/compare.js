// A sound beside the one that it was made from: what changed, and what was kept sample for sample.
const BRIDGE = 0.02; // seconds of equal samples within a change, or at an end, that count as changed

/** Return a sound laid into the timeline of another one: silent where it has nothing. Null where rates or channels differ. */
export function aligned(buffer, onto, offset) {
  if (buffer.sampleRate !== onto.sampleRate || buffer.numberOfChannels !== onto.numberOfChannels) return null;
  if (offset === 0 && buffer.length === onto.length) return buffer;
  const { length, sampleRate, numberOfChannels } = onto;
  const result = new AudioBuffer({ length, sampleRate, numberOfChannels });
  for (let channel = 0; channel < numberOfChannels; channel += 1) {
    const samples = buffer.getChannelData(channel).subarray(Math.max(0, -offset), Math.max(0, length - offset));
    if (samples.length) result.copyToChannel(samples, channel, Math.max(0, offset));
  }
  return result;
}

/**
 * Return how two sounds of one length differ: {values: largest difference of any channel per sample, changed: spans of seconds}.
 * What lies before or behind the reference's own samples, from `first` to `end`, is new.
 */
export function difference(buffer, reference, first = 0, end = buffer.length) {
  const values = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const [one, other] = [buffer, reference].map((each) => each.getChannelData(channel));
    for (let i = 0; i < values.length; i += 1) values[i] = Math.max(values[i], Math.abs(one[i] - other[i]));
  }
  return { values, changed: changedSpans(values, buffer.sampleRate, Math.max(0, first), Math.min(end, buffer.length)) };
}

function changedSpans(values, sampleRate, first, end) {
  const bridge = BRIDGE * sampleRate;
  const spans = first > 0 ? [[0, first]] : [];
  const add = (from, to) => {
    const last = spans.at(-1);
    if (last && from - last[1] <= bridge) last[1] = to;
    else spans.push([from <= bridge ? 0 : from, to]);
  };
  for (let i = first; i < end; i += 1) if (values[i] !== 0) add(i, i + 1);
  if (end < values.length) add(end, values.length);
  const last = spans.at(-1);
  if (last && values.length - last[1] <= bridge) last[1] = values.length;
  return spans.map((span) => span.map((at) => at / sampleRate));
}

/** Return the spans between others, from 0 to an end. */
export function between(spans, end) {
  const edges = [0, ...spans.flat(), end];
  return edges.flatMap((from, i) => (i % 2 === 0 && edges[i + 1] > from ? [[from, edges[i + 1]]] : []));
}

// WAV files, read and written sample for sample. A browser's own decoder scales 16-bit samples above zero by 1/32767, and those
// below by 1/32768, so that a part that it cut would not be of the very samples any more.
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe; // the format stands further on

/** Return a stretch of a sound as a WAV file of 32-bit floats, the very samples. */
export function cut(buffer, start, end) {
  const [first, last] = [start, end].map((seconds) => Math.round(seconds * buffer.sampleRate));
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i).subarray(first, last));
  const [count, frame] = [channels[0].length, 4 * channels.length];
  const view = new DataView(new ArrayBuffer(58 + count * frame));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  const words = [[4, 50 + count * frame], [16, 18], [24, buffer.sampleRate], [28, buffer.sampleRate * frame], [42, 4], [46, count], [54, count * frame]];
  const shorts = [[20, 3], [22, channels.length], [32, frame], [34, 32]];
  [[0, 'RIFF'], [8, 'WAVEfmt '], [38, 'fact'], [50, 'data']].forEach(([at, letters]) => text(at, letters));
  words.forEach(([at, value]) => view.setUint32(at, value, true));
  shorts.forEach(([at, value]) => view.setUint16(at, value, true));
  channels.forEach((samples, c) => samples.forEach((sample, i) => view.setFloat32(58 + i * frame + 4 * c, sample, true)));
  return new Blob([view], { type: 'audio/wav' });
}

/** Return the samples of a WAV file of integers or of 32-bit floats; null for anything else. */
export function readWav(bytes) {
  const view = new DataView(bytes);
  const chunks = bytes.byteLength > 12 && tag(view, 0) === 'RIFF' && tag(view, 8) === 'WAVE' ? chunksOf(view) : {};
  if (!chunks['fmt '] || !chunks.data) return null;
  const { at } = chunks['fmt '];
  const format = view.getUint16(at, true) === EXTENSIBLE ? view.getUint16(at + 24, true) : view.getUint16(at, true);
  const [channels, frame, bits] = [2, 12, 14].map((offset) => view.getUint16(at + offset, true));
  const rate = view.getUint32(at + 4, true);
  const read = readers(view)[`${format}/${bits}`];
  const length = Math.floor(chunks.data.size / frame);
  if (!read || !length || frame !== (channels * bits) / 8) return null;
  const buffer = new AudioBuffer({ length, sampleRate: rate, numberOfChannels: channels });
  for (let channel = 0; channel < channels; channel += 1) {
    const samples = buffer.getChannelData(channel);
    const start = chunks.data.at + (channel * bits) / 8;
    for (let i = 0; i < length; i += 1) samples[i] = read(start + i * frame);
  }
  return buffer;
}

function readers(view) {
  return {
    [`${PCM}/16`]: (at) => view.getInt16(at, true) / 2 ** 15,
    [`${PCM}/24`]: (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23,
    [`${PCM}/32`]: (at) => view.getInt32(at, true) / 2 ** 31,
    [`${FLOAT}/32`]: (at) => view.getFloat32(at, true),
  };
}

function chunksOf(view) {
  const found = {};
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = Math.min(view.getUint32(at + 4, true), view.byteLength - at - 8);
    found[tag(view, at)] ??= { at: at + 8, size };
    at += 8 + size + (size % 2);
  }
  return found;
}

function tag(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}

// What is wrong with the samples of a sound, where nobody said so: an upload, or what was cut from a sound.
const SILENT = 10 ** (-60 / 20);
const FULL = 1 - 2 ** -15; // what 16 bits have as their highest sample
const FLAT = 4; // samples at full scale one after another that are no peak but a cut one
const SEEN = new WeakMap();

/** Return what is wrong with a sound, a line each. */
export function troubles(buffer) {
  if (!SEEN.has(buffer)) SEEN.set(buffer, found(buffer));
  return SEEN.get(buffer);
}

function found(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  const peak = Math.max(...channels.map((samples) => samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)));
  if (peak < SILENT) return ['The sound is silent.'];
  const places = channels.map(flatTop).filter((at) => at !== null);
  if (!places.length) return [];
  return [`The sound is clipped, first at ${(Math.min(...places) / buffer.sampleRate).toFixed(2)} s.`];
}

/** Return the first sample of a stretch at full scale, or null. */
function flatTop(samples) {
  let run = 0;
  for (let i = 0; i < samples.length; i += 1) {
    run = Math.abs(samples[i]) >= FULL ? run + 1 : 0;
    if (run === FLAT) return i - FLAT + 1;
  }
  return null;
}

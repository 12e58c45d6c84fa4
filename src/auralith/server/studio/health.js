// What is wrong with the samples of a sound, where nobody said so: an upload, or what was cut from a sound.
import { SIZE, power } from './spectrum.js';

const SILENT = 10 ** (-60 / 20);
const FULL = 1 - 2 ** -15; // what 16 bits have as their highest sample
const FLAT = 4; // samples at full scale one after another that are no peak but a cut one
const MOST_FRAMES = 512; // of the spectrum: enough to tell, and few enough not to keep the page waiting
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
  const clipped = `The sound is clipped, first at ${(Math.min(...places) / buffer.sampleRate).toFixed(2)} s.`;
  return [...(places.length ? [clipped] : []), ...(isNoise(channels) ? ['The sound looks like white noise.'] : [])];
}

/** Return whether a sound is steady and its spectrum flat, by the measure that the server has for those it makes. */
function isNoise(channels) {
  const { length } = channels[0];
  if (length < 16 * SIZE) return false;
  const count = Math.min(MOST_FRAMES, Math.floor((2 * length) / SIZE) - 1);
  const starts = Array.from({ length: count }, (_, i) => Math.round((i * (length - SIZE)) / (count - 1)));
  const bins = new Float64Array(SIZE / 2 - 1);
  const frames = starts.map((start) => channels.reduce((total, samples) => {
    const found = power(samples, start);
    found.forEach((value, i) => { bins[i] += value; });
    return total + mean(found);
  }, 0)).sort((a, b) => a - b);
  const flatness = Math.exp(mean(bins.map(Math.log))) / mean(bins);
  return flatness > 0.9 && frames[Math.floor(0.1 * (count - 1))] > 0.1 * mean(frames);
}

function mean(values) {
  return values.reduce((total, value) => total + value, 0) / values.length;
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

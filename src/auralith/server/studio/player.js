// Playback from decoded samples: loops without a gap, and changes sounds at one playhead. It has as much of an
// HTMLMediaElement's surface as wavesurfer.js asks of its media.
import { Meter } from './meter.js';
import { readWav } from './wav.js';

const TICK = 100; // milliseconds between two timeupdates
const LEAD = 0.02; // seconds ahead that a change of sounds is scheduled, so that both sides of it are in time
const FADE = 0.004; // seconds in which one sound replaces another, or begins and ends within one: no click

export class Player extends EventTarget {
  muted = false;
  playbackRate = 1;
  seeking = false;
  ended = false;
  error = null;
  src = '';
  currentSrc = '';
  readyState = 4; // HAVE_ENOUGH_DATA
  isLooping = false;
  meter = null;
  #volume = 1;
  #span = null;
  #buffer = null;
  #context = null;
  #out = null;
  #voice = null; // the source that is heard, and its gain
  #offset = 0;
  #startedAt = 0;
  #timer = 0;

  get volume() {
    return this.#volume;
  }

  set volume(share) {
    this.#volume = share;
    if (this.#out) this.#out.gain.value = share;
    this.#tell('volumechange');
  }

  get paused() {
    return this.#voice === null;
  }

  get duration() {
    return this.#buffer?.duration ?? 0;
  }

  get currentTime() {
    return this.paused ? this.#offset : this.#timeAt(this.#context.currentTime);
  }

  set currentTime(seconds) {
    this.#move(Math.max(0, Math.min(seconds, this.duration)));
    this.#tell('timeupdate');
  }

  /** Take another sound. What plays goes on where it is, sample for sample. */
  load(buffer) {
    if (!buffer || buffer === this.#buffer) return;
    if (this.paused) {
      this.#buffer = buffer;
      if (this.#offset >= buffer.duration) this.#offset = 0;
      return;
    }
    const at = this.#context.currentTime + LEAD;
    const time = this.#timeAt(at);
    this.#stop(at);
    this.#buffer = buffer;
    this.#start(time < buffer.duration ? time : 0, at);
  }

  /** Loop a stretch of seconds, or the whole sound where it is null. */
  setLoop(isLooping, span = null) {
    const at = this.paused ? 0 : this.#context.currentTime + LEAD;
    const time = this.paused ? this.#offset : this.#timeAt(at);
    this.isLooping = isLooping;
    this.#span = span;
    this.#move(isLooping && span && (time < span[0] || time >= span[1]) ? span[0] : time, at);
    this.#tell('loopchange');
  }

  async play() {
    if (!this.#buffer || !this.paused) return;
    this.#start(this.#offset >= this.duration ? 0 : this.#offset);
    this.#tell('play');
    this.#timer = setInterval(() => this.#tell('timeupdate'), TICK);
    await this.#context.resume();
  }

  pause() {
    if (this.paused) return;
    this.#offset = this.currentTime;
    this.#stop();
    clearInterval(this.#timer);
    this.#tell('pause');
    this.#tell('timeupdate');
  }

  toggle() {
    return this.paused ? this.play() : this.pause();
  }

  canPlayType() {
    return '';
  }

  removeAttribute() {}

  remove() {}

  #timeAt(clock) {
    const time = this.#offset + Math.max(0, clock - this.#startedAt);
    const [start, end] = this.#range();
    if (this.isLooping && time >= end && this.#offset < end) return start + ((time - end) % (end - start));
    return Math.min(time, this.duration);
  }

  #range() {
    const [start, end] = this.#span ?? [0, this.duration];
    return [start, Math.min(end, this.duration)];
  }

  /** Start at a second of the sound, at a time of the context's clock, or now. */
  #start(offset, at = null) {
    const rate = this.#buffer.sampleRate;
    if (this.#context?.sampleRate !== rate) {
      this.#open(rate);
      at = null; // of another clock
    }
    const node = this.#context.createBufferSource();
    const gain = this.#context.createGain();
    node.buffer = this.#buffer;
    node.connect(gain).connect(this.#out);
    node.loop = this.isLooping;
    [node.loopStart, node.loopEnd] = this.#range();
    node.onended = () => this.#end(node);
    const begin = at ?? this.#context.currentTime;
    if (offset > 0) {
      gain.gain.setValueAtTime(0, begin);
      gain.gain.linearRampToValueAtTime(1, begin + FADE);
    }
    node.start(begin, offset);
    this.#offset = offset;
    this.#startedAt = begin;
    this.#voice = { node, gain };
  }

  #open(rate) {
    this.#context?.close();
    this.#context = new AudioContext({ sampleRate: rate }); // so that nothing is resampled at the seam
    this.#out = this.#context.createGain();
    this.#out.gain.value = this.#volume;
    this.#out.connect(this.#context.destination);
    this.meter = new Meter(this.#context, this.#out);
  }

  #stop(at = null) {
    if (!this.#voice) return;
    const { node, gain } = this.#voice;
    const begin = at ?? this.#context.currentTime;
    this.#voice = null;
    gain.gain.setValueAtTime(1, begin);
    gain.gain.linearRampToValueAtTime(0, begin + FADE);
    node.stop(begin + FADE);
  }

  #move(seconds, at = null) {
    if (this.paused) {
      this.#offset = seconds;
      return;
    }
    const when = at ?? this.#context.currentTime + LEAD;
    this.#stop(when);
    this.#start(seconds, when);
  }

  #end(node) {
    if (node !== this.#voice?.node) return; // it was stopped
    this.#voice = null;
    this.#offset = 0;
    clearInterval(this.#timer);
    this.#tell('pause');
    this.#tell('ended');
    this.#tell('timeupdate');
  }

  #tell(kind) {
    this.dispatchEvent(new Event(kind));
  }
}

/** Return the samples of an encoded sound at its own rate. */
export async function decode(bytes, sampleRate) {
  return readWav(bytes) ?? new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
}

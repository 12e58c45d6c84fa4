// Playback from decoded samples: loops without a gap, and changes sounds at one playhead. It has as much of an
// HTMLMediaElement's surface as wavesurfer.js asks of its media.
const TICK = 100; // milliseconds between two timeupdates

export class Player extends EventTarget {
  volume = 1;
  muted = false;
  playbackRate = 1;
  seeking = false;
  ended = false;
  error = null;
  src = '';
  currentSrc = '';
  readyState = 4; // HAVE_ENOUGH_DATA
  isLooping = false;
  #span = null;
  #buffer = null;
  #context = null;
  #node = null;
  #offset = 0;
  #startedAt = 0;
  #timer = 0;

  get paused() {
    return this.#node === null;
  }

  get duration() {
    return this.#buffer?.duration ?? 0;
  }

  get currentTime() {
    if (this.paused) return this.#offset;
    const time = this.#offset + this.#context.currentTime - this.#startedAt;
    const [start, end] = this.#range();
    if (this.isLooping && time >= end && this.#offset < end) return start + ((time - end) % (end - start));
    return Math.min(time, this.duration);
  }

  set currentTime(seconds) {
    this.#restart(Math.max(0, Math.min(seconds, this.duration)));
    this.#tell('timeupdate');
  }

  /** Take another sound. What plays goes on where it is. */
  load(buffer) {
    if (!buffer || buffer === this.#buffer) return;
    const time = Math.min(this.currentTime, buffer.duration);
    const wasPlaying = !this.paused;
    this.#stop();
    this.#buffer = buffer;
    this.#offset = time < buffer.duration ? time : 0;
    if (wasPlaying) this.#start();
  }

  /** Loop a stretch of seconds, or the whole sound where it is null. */
  setLoop(isLooping, span = null) {
    const time = this.currentTime;
    this.isLooping = isLooping;
    this.#span = span;
    this.#restart(isLooping && span && (time < span[0] || time >= span[1]) ? span[0] : time);
    this.#tell('loopchange');
  }

  async play() {
    if (!this.#buffer || !this.paused) return;
    if (this.#offset >= this.duration) this.#offset = 0;
    this.#start();
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

  #range() {
    const [start, end] = this.#span ?? [0, this.duration];
    return [start, Math.min(end, this.duration)];
  }

  #start() {
    const rate = this.#buffer.sampleRate;
    if (this.#context?.sampleRate !== rate) {
      this.#context?.close();
      this.#context = new AudioContext({ sampleRate: rate }); // so that nothing is resampled at the seam
    }
    const node = this.#context.createBufferSource();
    node.buffer = this.#buffer;
    node.connect(this.#context.destination);
    node.loop = this.isLooping;
    [node.loopStart, node.loopEnd] = this.#range();
    node.onended = () => this.#end(node);
    node.start(0, this.#offset);
    this.#startedAt = this.#context.currentTime;
    this.#node = node;
  }

  #stop() {
    const node = this.#node;
    this.#node = null;
    node?.stop();
  }

  #restart(seconds) {
    const wasPlaying = !this.paused;
    this.#stop();
    this.#offset = seconds;
    if (wasPlaying) this.#start();
  }

  #end(node) {
    if (node !== this.#node) return; // it was stopped
    this.#node = null;
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
  return new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
}

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

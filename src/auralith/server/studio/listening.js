// Two sounds at one playhead: the same stretch of time, aligned where they match, from the server as excerpts.
import { call } from './api.js';
import { Player, decode } from './player.js';

const RATE = 44_100; // of excerpts
const LEAD = 4; // seconds before the common stretch, and behind it
const SHORTEST = 20; // seconds of an excerpt
const LONGEST = 60;

export class Listening {
  player = new Player();
  #store;
  #sounds = null;

  constructor(store) {
    this.#store = store;
    this.state = { side: 'suspect', match: 0, frame: null, selection: null };
    for (const kind of ['play', 'pause', 'loopchange']) this.player.addEventListener(kind, () => store.change({}));
  }

  /** Return the sounds of an item: {frame, suspect, other}, with what could not be read as a line in place of a sound. */
  async read(item, match = 0, from = 0) {
    const frame = frameOf(item, match, from);
    const read = async (side, start) => (side?.sound ? excerpt(side.sound, start, frame.seconds) : null);
    const [suspect, other] = await Promise.all([
      read(item.suspect, frame.suspect), read(item.matches[match], frame.other)]);
    return { frame, match, suspect, other };
  }

  /** Show the sounds of an item, from the beginning of what both have. */
  take({ sounds }) {
    this.player.pause();
    this.#sounds = sounds;
    this.state = { ...this.state, side: 'suspect', match: sounds.match, frame: sounds.frame, selection: sounds.frame.common };
    this.#load();
    this.player.setLoop(false);
    this.player.currentTime = sounds.frame.common?.[0] ?? 0;
    this.#store.change({});
  }

  clear() {
    this.player.pause();
    this.#sounds = null;
  }

  get sounds() {
    return this.#sounds;
  }

  play() {
    if (this.buffer(this.state.side)) this.player.play();
  }

  buffer(side) {
    const found = side === 'suspect' ? this.#sounds?.suspect : this.#sounds?.other;
    return found instanceof AudioBuffer ? found : null;
  }

  /** Hear the suspect or the match, at the same moment. */
  hear(side) {
    if (!this.buffer(side)) return;
    this.state = { ...this.state, side };
    this.#load();
    this.#store.change({});
  }

  toggle() {
    this.hear(this.state.side === 'suspect' ? 'other' : 'suspect');
  }

  select(selection) {
    this.state = { ...this.state, selection };
    if (this.player.isLooping) this.player.setLoop(true, selection);
    this.#store.change({});
  }

  loop() {
    this.player.setLoop(!this.player.isLooping, this.state.selection);
  }

  move(seconds) {
    this.player.currentTime += seconds;
  }

  /** Read another match, or an earlier or later stretch of both. */
  async look(item, match, from) {
    const sounds = await this.read(item, match, from);
    if (this.#store.state.item === item) this.take({ sounds });
  }

  #load() {
    this.player.load(this.buffer(this.state.side) ?? this.buffer('other'));
  }
}

/** Return what excerpts of an item cover: where they start in either sound, how long, and what is common to both. */
function frameOf(item, number, from) {
  const match = item.matches[number] ?? null;
  const isAligned = match !== null && match.query_start_s !== null;
  const [query, ref] = isAligned ? [match.query_start_s, match.ref_start_s] : [0, 0];
  const common = isAligned ? (match.duration_s ?? SHORTEST) : 0;
  const lead = Math.min(LEAD, Math.max(query, ref));
  const ends = [item.suspect.seconds, match?.seconds ?? null].map((end, i) => (end === null ? null : end - (i ? ref : query) + lead));
  const known = ends.filter((end) => end !== null);
  const end = known.length ? Math.max(1, ...known) : LONGEST;
  const wished = Math.max(SHORTEST, Math.min(LONGEST, isAligned ? lead + common + LEAD : LONGEST));
  const seconds = Math.max(1, Math.min(wished, end - from));
  const stretch = [lead - from, lead - from + common];
  const inside = [Math.max(0, stretch[0]), Math.min(seconds, stretch[1])];
  return {
    from, seconds, isAligned, suspect: query - lead + from, other: ref - lead + from, common: isAligned && inside[0] < inside[1] ? inside : null,
    earlier: from > -Math.max(query, ref) + lead ? Math.max(from - seconds / 2, lead - Math.max(query, ref)) : null,
    later: from + seconds < end - 0.5 ? from + seconds / 2 : null,
  };
}

/** Return a stretch of a sound, decoded, or why there is none. */
async function excerpt(url, start, seconds) {
  try {
    const query = new URLSearchParams({ start: start.toFixed(6), seconds: seconds.toFixed(6) });
    return await decode(await (await call(`${url}/excerpt.wav?${query}`)).arrayBuffer(), RATE);
  } catch (error) {
    return error.message;
  }
}

// The level of what is heard, from both channels.
const SIZE = 2048; // samples that a reading looks back
export const FLOOR = -60; // dBFS that reads as nothing

export class Meter {
  #analysers;
  #samples = new Float32Array(SIZE);

  constructor(context, source) {
    const splitter = context.createChannelSplitter(2);
    source.connect(splitter);
    this.#analysers = [0, 1].map((channel) => {
      const analyser = new AnalyserNode(context, { fftSize: SIZE });
      splitter.connect(analyser, channel);
      return analyser;
    });
  }

  /** Return the peak of each channel in dBFS. */
  read() {
    return this.#analysers.map((analyser) => {
      analyser.getFloatTimeDomainData(this.#samples);
      const peak = this.#samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      return peak > 0 ? 20 * Math.log10(peak) : -Infinity;
    });
  }
}

// Power spectra of stretches of samples, by a fast Fourier transform (Cooley and Tukey 1965).
export const SIZE = 1024;

const HALF = SIZE / 2;
const BITS = Math.log2(SIZE);
const WINDOW = Float64Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));
const COSINES = Float64Array.from({ length: HALF }, (_, i) => Math.cos((2 * Math.PI * i) / SIZE));
const SINES = Float64Array.from({ length: HALF }, (_, i) => -Math.sin((2 * Math.PI * i) / SIZE));
const ORDER = Uint16Array.from({ length: SIZE }, (_, i) => parseInt(i.toString(2).padStart(BITS, '0').split('').reverse().join(''), 2));

/** Return the power of each frequency but the lowest and the highest one, of SIZE samples under a Hann window. */
export function power(samples, start) {
  const real = Float64Array.from(ORDER, (at) => samples[start + at] * WINDOW[at]);
  const imaginary = new Float64Array(SIZE);
  for (let size = 2; size <= SIZE; size *= 2) {
    for (let first = 0; first < SIZE; first += size) {
      for (let i = 0; i < size / 2; i += 1) {
        const [a, b, turn] = [first + i, first + i + size / 2, (i * SIZE) / size];
        const x = real[b] * COSINES[turn] - imaginary[b] * SINES[turn];
        const y = real[b] * SINES[turn] + imaginary[b] * COSINES[turn];
        [real[b], imaginary[b]] = [real[a] - x, imaginary[a] - y];
        [real[a], imaginary[a]] = [real[a] + x, imaginary[a] + y];
      }
    }
  }
  return Float64Array.from({ length: HALF - 1 }, (_, i) => real[i + 1] ** 2 + imaginary[i + 1] ** 2);
}

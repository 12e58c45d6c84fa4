"""Measure whether presets sound as they are named: `python -m recipes.embedded.corpus.check` lists those that don't.

Each preset plays notes over its instrument's range. One that is silent, has no pitch at most notes, or is off by more than a
third of a semitone in the median is left out of the corpus by left_out.toml, which this program writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np
from jaxtyping import Float

from auralith.files import whole_file
from recipes.embedded.corpus.fonts import Event, Preset, player
from recipes.embedded.corpus.sounds import LEFT_OUT, every_instrument
from recipes.tiny.synth.pitch import midi_number
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo

NOTES = 5
SECONDS, START, STOP = 1.0, 0.1, 0.6
"""Length of a note, and the stretch of it that is measured."""
SILENT_DB = -50.0
MOST_CENTS = 33.0
LEAST_STRENGTH = 0.5
"""Least normalized autocorrelation, near the period of the note, of what has that pitch."""
OCTAVES = (1.0, 2.0, 0.5)
SEMITONE = 2 ** (1 / 12)
REFINED_SAMPLES = 1_500
"""Lag by which a period is measured; one of a few samples says little."""


@dataclass(frozen=True)
class Measured:
    """Measures of a preset."""

    instrument: str
    preset: str
    peak_db: float
    pitched: float
    """Share of the notes with the pitch of their key, or its octaves."""
    cents: float
    """Median deviation of those, in cents; 0 without any."""

    @property
    def fault(self) -> str | None:
        """Return why it is left out; None if it isn't."""
        if self.peak_db < SILENT_DB:
            return f"silent, {self.peak_db:.0f} dB"
        if self.pitched < 0.5:
            return f"no such pitch at {1 - self.pitched:.0%} of the notes"
        return f"{self.cents:+.0f} cents off" if abs(self.cents) > MOST_CENTS else None


def measured() -> Iterator[Measured]:
    """Yield the measures of every pitched preset."""
    for name, one in every_instrument().items():
        low, high = (midi_number(note) for note in one["range"])
        keys = [round(low + (high - low) * (i + 0.5) / NOTES) for i in range(NOTES)]
        for text in (*one["presets"], *one.get("held_out", ())):
            yield _measured(name, text, keys)


def _measured(name: str, text: str, keys: list[int]) -> Measured:
    sounds = [
        player().play(Preset.parse(text), [Event(0.0, SECONDS, k, 100)], SECONDS) for k in keys
    ]
    peak = max(float(np.abs(sound).max()) for sound in sounds)
    cents = [deviation(sound, key) for sound, key in zip(sounds, keys, strict=True)]
    found = [one for one in cents if one is not None]
    level = 20 * np.log10(max(peak, 1e-6))
    return Measured(
        name, text, float(level), len(found) / len(keys), median(found) if found else 0.0
    )


def deviation(sound: Stereo, key: int) -> float | None:
    """Return how many cents a sound lies above a key or its nearest octave; None if it has no such pitch.

    The period is the lag of the largest normalized autocorrelation within a semitone of that of the key.
    """
    stretch = sound.mean(axis=0)[round(START * SAMPLE_RATE) : round(STOP * SAMPLE_RATE)]
    size = len(stretch)
    spectrum = np.fft.rfft(stretch - stretch.mean(), 4 * size)
    lags = np.fft.irfft(np.abs(spectrum) ** 2)[:size]
    lags = lags / max(float(lags[0]), 1e-12) * size / (size - np.arange(size))
    best: tuple[float, float] = (0.0, 0.0)
    for octave in OCTAVES:
        period = SAMPLE_RATE / (440.0 * 2 ** ((key - 69) / 12)) * octave
        strength, exact = _peak(lags, period / SEMITONE, period * SEMITONE)
        if strength > best[0] + 0.05:
            best = (strength, float(-1200 * np.log2(_refined(lags, exact) / period)))
    return best[1] if best[0] >= LEAST_STRENGTH else None


def _refined(lags: Float[np.ndarray, " lag"], period: float) -> float:
    """Return a period more exactly, by the lag of more and more periods."""
    count = 1
    while 2 * count * period < REFINED_SAMPLES:
        count *= 2
        _, exact = _peak(lags, (count - 0.3) * period, (count + 0.3) * period)
        period = exact / count
    return period


def _peak(lags: Float[np.ndarray, " lag"], low: float, high: float) -> tuple[float, float]:
    """Return the largest autocorrelation between two lags, and its lag between samples (by a parabola)."""
    first, last = max(2, round(low)), min(round(high), len(lags) - 2)
    if last < first:
        return 0.0, (low + high) / 2
    peak = first + int(np.argmax(lags[first : last + 1]))
    left, middle, right = (float(lags[at]) for at in (peak - 1, peak, peak + 1))
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return middle, peak + float(np.clip(shift, -0.5, 0.5))


def main() -> None:
    """Write left_out.toml, and print each preset that is left out, with the reason."""
    lines = [
        "# Presets that don't sound as they are named; recipes.embedded.corpus.check wrote it.",
        "",
    ]
    count = 0
    for one in measured():
        count += 1
        if one.fault is not None:
            print(f"{one.instrument}, {one.preset}: {one.fault}")
            lines.append(f'"{one.preset}" = "{one.instrument}: {one.fault}"')
    with whole_file(LEFT_OUT) as file:
        file.write(("\n".join(lines) + "\n").encode())
    print(f"{len(lines) - 2} of {count} presets are left out")


if __name__ == "__main__":
    main()

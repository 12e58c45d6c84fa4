"""Sounds whose tempo, pitch, key, events and ends are planted."""

import numpy as np
from jaxtyping import Float

RATE = 44_100
Mono = Float[np.ndarray, " sample"]
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 11)}
TIMBRES = {
    "sine": (1.0,),
    "saw": tuple(1 / k for k in range(1, 9)),
    "odd": (1.0, 0.0, 0.4, 0.0, 0.2),
    "thin": (0.05, 1.0, 0.8, 0.5),
}


def tone(hz: float, seconds: float, partials: tuple[float, ...] = (1.0,), rate: int = RATE) -> Mono:
    """Partials of a fundamental, faded at both ends."""
    time = np.arange(round(seconds * rate)) / rate
    heard = [(k, a) for k, a in enumerate(partials, 1) if hz * k < 0.45 * rate]
    sound = np.sum([a * np.sin(2 * np.pi * hz * k * time + k) for k, a in heard], axis=0)
    edge = np.clip(np.minimum(time, time[-1] - time) / 0.01, 0, 1)
    return (0.4 * sound * edge / np.abs(sound).max()).astype(np.float32)


def burst(seed: int = 0, seconds: float = 0.08) -> Mono:
    """Decaying noise."""
    size = round(seconds * RATE)
    noise = np.random.default_rng(seed).standard_normal(size)
    return (0.2 * noise * np.exp(-6 * np.arange(size) / size)).astype(np.float32)


def placed(starts: Float[np.ndarray, " start"], sounds: list[Mono], seconds: float) -> Mono:
    """Sounds by turns at times in silence."""
    out = np.zeros(round(seconds * RATE), np.float32)
    for number, start in enumerate(starts):
        part = out[round(float(start) * RATE) :]
        sound = sounds[number % len(sounds)][: len(part)]
        part[: len(sound)] += sound
    return out


def beat(bpm: float, seconds: float) -> Mono:
    """A low hit on each beat, a bright one between."""
    beats = np.arange(0, seconds, 60 / bpm)
    low = tone(90, 0.12, (1.0, 0.5)) * np.exp(-np.arange(round(0.12 * RATE)) / 1_500).astype(
        np.float32
    )
    hats = placed(np.arange(30 / bpm, seconds, 60 / bpm), [0.3 * burst(1, 0.03)], seconds)
    return placed(beats, [low + np.pad(0.2 * burst(2, 0.01), (0, len(low) - 441))], seconds) + hats


def progression(tonic: int, mode: str, cents: float = 0.0) -> Mono:
    """I, IV, V, I of a key, each a second of three voices over their root."""
    scale = SCALES[mode]
    chords = []
    for degree in (0, 3, 4, 0):
        steps = [scale[(degree + third) % 7] + 12 * ((degree + third) // 7) for third in (0, 2, 4)]
        voices = [48 + tonic + step for step in steps] + [36 + tonic + steps[0]]
        hz = [440 * 2 ** ((voice - 69 + cents / 100) / 12) for voice in voices]
        chords.append(np.sum([tone(each, 1.0, TIMBRES["saw"]) for each in hz], axis=0) / 4)
    return np.concatenate(chords).astype(np.float32)


def noise(seconds: float, seed: int = 0) -> Mono:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(
        np.float32
    )


def noisy(sound: Mono, snr_db: float, seed: int = 0) -> Mono:
    """A sound with white noise under it."""
    added = np.random.default_rng(seed).standard_normal(len(sound))
    gain = np.sqrt(np.square(sound).mean()) * 10 ** (-snr_db / 20)
    return (sound + gain * added).astype(np.float32)


def stereo(sound: Mono, left: float = 1.0, right: float = 1.0) -> Float[np.ndarray, "2 sample"]:
    return np.stack([left * sound, right * sound]).astype(np.float32)

"""Rendering: a family's source signal, then what the recording adds to it, as the descriptors say.

In order: drive, tone, room, width, panning, level, and a short fade at the very end. A mono source gets its width
as a delayed copy that enters the two channels with opposite signs, so that the sum of both stays the source.
"""

import numpy as np
from jaxtyping import Float32

from recipes.tiny.synth.drums import render_hit, render_loop
from recipes.tiny.synth.nature import render_chirp, render_engine, render_texture
from recipes.tiny.synth.notes import render_note
from recipes.tiny.synth.scenes import render_footsteps, render_knock, render_riser, render_siren
from recipes.tiny.synth.signals import (
    Response,
    Stereo,
    decay,
    fast_length,
    filtered,
    num_samples,
    ramp,
    shelf,
)
from recipes.tiny.synth.sounds import ROOM, STAGE, Sound, axes_of

PEAK = 0.95
_FADE_SECONDS = 0.025
_SOURCES = {
    "drums": render_loop,
    "hit": render_hit,
    "note": render_note,
    "riser": render_riser,
    "siren": render_siren,
    "texture": render_texture,
    "knock": render_knock,
    "footsteps": render_footsteps,
    "chirp": render_chirp,
    "engine": render_engine,
}


def render(sound: Sound, rng: np.random.Generator) -> Stereo:
    """Waveform of a sound, (2, samples) at 44.1 kHz, exactly its length, with a peak of at most 0.95."""
    source = _SOURCES[sound.family](sound, rng)
    says = frozenset(sound.descriptors)
    if "distorted" in says:
        source = np.tanh(6 * source / np.abs(source).max())
    if says & {"bright", "dark"}:
        source = filtered(source, _tilt(sound, "bright" in says))
    stereo = _reverberate(_mid_side(source, sound), says, sound, rng)
    stereo = _level(_pan(_widen(stereo, says), says), says, rng)
    return ramp(stereo, 0.0, _FADE_SECONDS)


def _tilt(sound: Sound, bright: bool) -> Response:
    """Shelf of 15 dB above the pitch of a note, or above the middle of the spectrum of anything else."""
    corner = 1500.0 if sound.hz is None else 3.5 * sound.hz
    return shelf(corner, 5.6 if bright else 0.1)


def _mid_side(source: Float32[np.ndarray, "*channels sample"], sound: Sound) -> Stereo:
    """(mid, side) of a source; a mono one of a kind that has width gets a delayed copy as its side."""
    if source.ndim == 2:
        return np.stack([source[0] + source[1], source[0] - source[1]]) / 2
    side = np.zeros_like(source)
    if STAGE in axes_of(sound.kind):
        delay = num_samples(0.009)
        side[delay:] = 0.6 * source[:-delay]
    return np.stack([source, side])


def _reverberate(
    mid_side: Stereo, says: frozenset[str], sound: Sound, rng: np.random.Generator
) -> Stereo:
    """A hall of 1.6 s for "reverberant"; otherwise kinds that can be "dry" have a small room unless they are."""
    if "reverberant" in says:
        return convolved(mid_side, 0.24, 0.5, rng)
    if ROOM in axes_of(sound.kind) and "dry" not in says:
        return convolved(mid_side, 0.05, 0.25, rng)
    return mid_side


def convolved(mid_side: Stereo, ring: float, wet: float, rng: np.random.Generator) -> Stereo:
    """Adds the mid through a decaying stereo noise, `ring` its time constant, `wet` times as loud as the mid."""
    length = mid_side.shape[1]
    count = min(num_samples(5 * ring), length)
    impulse = rng.standard_normal((2, count), np.float32) * decay(count, ring)
    impulse[:, : num_samples(0.004)] = 0
    size = fast_length(length + count)
    tail = np.fft.irfft(np.fft.rfft(impulse, size) * np.fft.rfft(mid_side[0], size), size)[
        :, :length
    ]
    tail *= wet * np.sqrt(np.mean(np.square(mid_side[0])) / (np.mean(np.square(tail)) + 1e-12))
    return (mid_side + tail).astype(np.float32)


def _widen(mid_side: Stereo, says: frozenset[str]) -> Stereo:
    """Left and right: full width for "wide", none for "mono", a third otherwise."""
    width = 1.0 if "wide" in says else 0.0 if "mono" in says else 0.35
    mid, side = mid_side[0], np.float32(width) * mid_side[1]
    return np.stack([mid + side, mid - side])


def _pan(stereo: Stereo, says: frozenset[str]) -> Stereo:
    """Attenuates one channel by 14 dB for "left" or "right"."""
    gains = (0.2 if "right" in says else 1.0, 0.2 if "left" in says else 1.0)
    return stereo * np.array(gains, np.float32)[:, None]


def _level(stereo: Stereo, says: frozenset[str], rng: np.random.Generator) -> Stereo:
    """Peak of the clip: "soft", "loud" or in between."""
    low, high = (0.1, 0.15) if "soft" in says else (0.88, PEAK) if "loud" in says else (0.4, 0.6)
    return stereo * np.float32(rng.uniform(low, high) / max(float(np.abs(stereo).max()), 1e-9))

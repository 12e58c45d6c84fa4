"""Onset strength: how much louder each band becomes, a curve over time that tempo and counts are read from."""

import numpy as np
from jaxtyping import Float

from auralith.controls.measurement import Mono, spectra
from auralith.sound.spectrum import mel_filters

RATE = 22_050
"""Rate of the sound in Hz that onsets are found in."""
HOP = 128
FRAMES_PER_SECOND = RATE / HOP
_SIZE = 1_024
_BANDS = 40
_LOWEST_HZ = 30.0
_FAINT = 0.01
"""Levels this far below the loudest band (40 dB) count in proportion, those above by their logarithm;"""
_FLOOR_QUANTILE, _OVER_FLOOR = 0.2, 2.0
"""so do those below this multiple of what a band has all the time, which is noise."""
_GROUPS = 4
_END = _SIZE // HOP
"""Frames at the end that see the sound cut off, which spreads over all bands too."""
_FALL = 0.8
"""Less than this share of the level a lag ago is a fall."""
_LAG = 3
"""Frames (17 ms) over which a band becomes louder."""


def onset_strengths(sound: Mono) -> Float[np.ndarray, "group frame"]:
    """Return the mean rise, in nepers, of each group of bands at each frame (5.8 ms), smoothed over five (spectral flux).

    Groups, from low to high, tell a kick from a hat. There are no onsets where the sound as a whole falls silent, which
    spreads over all bands for a moment.
    """
    filters = mel_filters(RATE, _SIZE, _BANDS, _LOWEST_HZ).numpy()
    bands = spectra(sound, _SIZE, HOP) @ filters.T.astype(np.float32)
    floor = np.quantile(bands, _FLOOR_QUANTILE, axis=0)
    unit = _FAINT * bands.max(initial=0.0) + _OVER_FLOOR * floor
    if not unit.all():
        return np.zeros((_GROUPS, len(bands)))
    levels = np.log1p(bands / unit)
    # the highest of its neighbors in frequency, so that vibrato is no onset (Böck and Widmer, 2013)
    around = np.pad(_before(levels, np.log1p(floor / unit)), ((0, 0), (1, 1)), mode="edge")
    before = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:])
    falls = bands.sum(axis=1) < _FALL * _before(bands, floor).sum(axis=1)
    rises = np.where(falls[:, None], 0, np.maximum(levels - before, 0))
    rises[-_END:] = 0
    kernel = np.hanning(7)[1:-1]
    groups = rises.reshape(len(rises), _GROUPS, -1).mean(axis=2).T
    return np.stack([np.convolve(group, kernel / kernel.sum(), "same") for group in groups])


def _before(
    levels: Float[np.ndarray, "frame band"], floor: Float[np.ndarray, " band"]
) -> Float[np.ndarray, "frame band"]:
    """Return the levels a lag ago; before the sound began, those that are there all the time."""
    return np.concatenate([np.tile(floor, (_LAG, 1)), levels])[: len(levels)]

"""The resampler inside OpenL3: `kaiser_best` of resampy 0.2.2, a windowed sinc, as a bank of filters.

The published statistics of FD_openl3 went through it from 44.1 to 48 kHz. Its filter is a table of 512 values for each of
64 zero crossings, read with linear interpolation; where the ratio is rational only so many filters occur as the new rate
has phases, 160 for 48 over 44.1 kHz. One matrix product makes all of them.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

ZERO_CROSSINGS, PRECISION = 64, 512
ROLL_OFF, BETA = 0.9475937167399596, 14.769656459379492
_BEFORE, _AFTER = ZERO_CROSSINGS - 1, ZERO_CROSSINGS
"""Samples that a filter reaches before and after the one at or before its place."""


def kaiser_best(
    waveform: Float[Tensor, "channel sample"], from_hz: int, to_hz: int
) -> Float[Tensor, "channel resampled"]:
    """Return the sound at a higher rate, ⌊samples · to/from⌋ long; before its start and after its end are zeros."""
    assert to_hz > from_hz  # downwards the table would be read in steps of another, rounded length
    common = math.gcd(from_hz, to_hz)
    inputs, outputs = from_hz // common, to_hz // common
    bank = _bank(inputs, outputs).to(waveform)
    length = int(waveform.shape[1] * (float(to_hz) / from_hz))
    blocks = -(-length // outputs)
    missing = (blocks - 1) * inputs + bank.shape[1] - _BEFORE - waveform.shape[1]
    padded = pad(waveform, (_BEFORE, max(missing, 0)))
    return (padded.unfold(1, bank.shape[1], inputs) @ bank.T).flatten(1)[:, :length]


@lru_cache(maxsize=4)
def _bank(inputs: int, outputs: int) -> Float[Tensor, "phase tap"]:
    """Return the filter of each output phase over the input samples that any of them reads, in float64."""
    table = _table()
    bank = torch.zeros(outputs, inputs + _BEFORE + _AFTER, dtype=torch.float64)
    for phase in range(outputs):
        place, remainder = divmod(phase * inputs, outputs)
        left = _wing(table, remainder / outputs)
        right = _wing(table, 1 - remainder / outputs)
        center = place + _BEFORE
        bank[phase, center + 1 - len(left) : center + 1] = left.flip(0)
        bank[phase, center + 1 : center + 1 + len(right)] = right
    return bank


def _table() -> Float[Tensor, " place"]:
    """Return the right half of the sinc under its window, up to the last zero crossing."""
    places = ZERO_CROSSINGS * PRECISION
    window = torch.kaiser_window(2 * places + 1, False, BETA, dtype=torch.float64)[places:]
    crossings = torch.linspace(0, ZERO_CROSSINGS, places + 1, dtype=torch.float64)
    return window * ROLL_OFF * torch.sinc(ROLL_OFF * crossings)


def _wing(table: Float[Tensor, " place"], fraction: float) -> Float[Tensor, " tap"]:
    """Return the weights of the samples on one side, the nearest first, `fraction` of a sample away."""
    exact = fraction * PRECISION
    first = int(exact)
    taps = (len(table) - first) // PRECISION
    places = first + PRECISION * torch.arange(taps)
    slopes = torch.cat([table.diff(), table.new_zeros(1)])
    return table[places] + (exact - first) * slopes[places]

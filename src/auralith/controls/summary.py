"""Rates over many sounds: how often each control is met, and how often that can't be told."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from auralith.controls.check import TOLERANCES, ControlResult

_Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""


@dataclass(frozen=True, slots=True)
class ControlRate:
    """Counts of a control: met, missed, and not told."""

    control: str
    asked: int
    met: int
    missed: int
    octaves: int
    """Results at twice or half of what was asked: of a tempo in addition to met and missed, of a pitch among missed."""
    unknown: int
    """Results that the measure can't tell."""
    median_error: float | None
    """Median magnitude of the error, in the unit of the tolerance, over what was told."""

    @property
    def rate(self) -> float | None:
        """Share of met among met and missed; None where there are none."""
        told = self.met + self.missed
        return self.met / told if told else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the rate (Wilson 1927)."""
        told = self.met + self.missed
        return wilson_interval(self.met, told) if told else None


def summary(results: Iterable[ControlResult]) -> dict[str, ControlRate]:
    """Return the rates of each control that was asked for, in the order of `TOLERANCES`."""
    by_control: dict[str, list[ControlResult]] = {}
    for result in results:
        by_control.setdefault(result.control, []).append(result)
    return {name: _rate(name, by_control[name]) for name in TOLERANCES if name in by_control}


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability (Wilson 1927); `trials` must be above 0."""
    share, z2 = successes / trials, _Z * _Z
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, center - half), min(1.0, center + half)


def _rate(control: str, results: list[ControlResult]) -> ControlRate:
    errors = [abs(result.error) for result in results if result.error is not None]
    octaves = sum(result.octave for result in results)
    return ControlRate(
        control,
        asked=len(results),
        met=sum(result.met is True for result in results),
        missed=sum(result.met is False for result in results),
        octaves=octaves,
        unknown=sum(result.met is None and not result.octave for result in results),
        median_error=float(np.median(errors)) if errors else None,
    )

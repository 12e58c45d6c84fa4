"""Levels of `--fast`: settings that take fewer evaluations of the network, chosen from a table of error against time.

`benchmarks/quality_of_speed.py` prints that table; docs/speed.md has it with what was chosen and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from auralith.config import ObjectiveName, SamplingDefaults
from auralith.errors import Field, InvalidRequest

EVERYWHERE = (0.0, 1.0)


@dataclass(frozen=True)
class Level:
    """Settings that a request takes in place of fields that it leaves out; they have the same names."""

    steps: int
    sampler: str
    cfg_interval: tuple[float, float] = EVERYWHERE
    cache_threshold: float = 0.0


LEVELS: Mapping[ObjectiveName, tuple[Level, ...]] = MappingProxyType(
    {
        "v": (
            Level(20, "dpmpp-2m", EVERYWHERE, 0.12),
            Level(16, "dpmpp-2m", EVERYWHERE, 0.15),
            Level(14, "dpmpp-2m", (0.2, 1.0), 0.25),
        ),
        "rectified_flow": (
            Level(20, "dpmpp"),
            Level(16, "euler", EVERYWHERE, 0.15),
            Level(10, "euler", EVERYWHERE, 0.15),
        ),
    }
)
"""Levels 1, 2 and 3 by objective. Distilled models have none: they take eight steps without guidance as it is."""
MOST_FAST = 3
OVERRULED = tuple(field.name for field in fields(Level))
"""Fields of a request that a level has a value for."""


def level_of(fast: int | None, objective: ObjectiveName, usual: SamplingDefaults) -> Level:
    """Return a level for a model, with no more steps than it usually takes; without one its usual settings.

    Raises `InvalidRequest` for a model that has no levels.
    """
    if fast is None:
        return Level(usual.steps, usual.sampler)
    if objective not in LEVELS:
        raise InvalidRequest(
            Field("fast"),
            f" is {fast}, but this model is distilled to {usual.steps} steps and has no faster levels; leave it out, or "
            "set ",
            Field("steps"),
        )
    level = LEVELS[objective][fast - 1]
    return replace(level, steps=min(level.steps, usual.steps))

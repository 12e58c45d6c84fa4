"""Settings of an adapter's effect on a model: its strength, the noise levels where it acts, and layers that it leaves alone.

On the command line they are one text behind a file's name: STRENGTH, then `,levels=LOW-HIGH` and any number of
`,skip=TEXT`.
"""

import re
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from auralith.errors import Field, InvalidRequest
from auralith.numbers import check_number, plain_number

MAX_STRENGTH = 10.0
RANGE = re.compile(r"\[(\d{1,4})-(\d{1,4})\]")
NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
LEVELS = re.compile(f"{NUMBER}-{NUMBER}", re.IGNORECASE | re.ASCII)
LONGEST_SKIP = 1_000
MOST_PATTERNS = 10_000
"""Texts that the ranges of `skip` stand for."""


@dataclass(frozen=True)
class AdapterEffect:
    """Effect of an adapter. Raises InvalidRequest for values out of range."""

    strength: float = 1.0
    """Share of the adapter's change: 0 none, 1 as trained."""
    levels: tuple[float, float] = (0.0, 1.0)
    """Noise levels at which it acts on the transformer, bounds included: 1 is noise alone, 0 the sound."""
    skip: str = ""
    """Layers of the transformer that it leaves alone, by a part of their published name; several are separated by commas, and
    [0-5] stands for every number in between."""

    def __post_init__(self) -> None:
        check_number(self, "strength", least=-MAX_STRENGTH, most=MAX_STRENGTH)
        levels = self.levels
        bounds = tuple(map(plain_number, levels)) if isinstance(levels, list | tuple) else ()
        numbers = tuple(float(n) for n in bounds if isinstance(n, int | float))
        if not len(bounds) == len(numbers) == 2 or not 0 <= numbers[0] <= numbers[1] <= 1:
            raise InvalidRequest(
                Field("levels"), f" are {levels!r:.80}; give two ascending numbers from 0 to 1"
            )
        object.__setattr__(self, "levels", numbers)
        if not isinstance(self.skip, str) or len(self.skip) > LONGEST_SKIP:
            raise InvalidRequest(
                Field("skip"), f" must be a text of at most {LONGEST_SKIP:,} characters"
            )
        if _count(self.skip) > MOST_PATTERNS:
            raise InvalidRequest(
                Field("skip"), f" stands for more than {MOST_PATTERNS:,} names; give smaller ranges"
            )

    @property
    def acts_always(self) -> bool:
        """Return whether it acts at every noise level."""
        return self.levels == (0.0, 1.0)

    def acts_at(self, level: float) -> bool:
        """Return whether it acts on the transformer at a noise level from 0 to 1."""
        return self.levels[0] <= level <= self.levels[1]

    def skips(self, name: str) -> bool:
        """Return whether it leaves a layer of this name alone: `layers.1` is no part of `layers.12`."""
        dotted = f".{name.lower()}."
        return any(
            re.search(re.escape(text) + (r"(?!\d)" if text[-1].isdigit() else ""), dotted)
            for text in _expanded(self.skip)
        )

    @property
    def stated(self) -> dict[str, Any]:
        """Return the strength and, of the rest, what is not the default."""
        plain = vars(AdapterEffect())
        return {k: v for k, v in vars(self).items() if k == "strength" or v != plain[k]}

    def __str__(self) -> str:
        """Return the text of the command line."""
        levels = "" if self.acts_always else f",levels={self.levels[0]!r}-{self.levels[1]!r}"
        return f"{self.strength!r}{levels}" + "".join(f",skip={part}" for part in _parts(self.skip))


def parse_effect(text: str) -> AdapterEffect | None:
    """Return the effect that a text of the command line states; None if it begins with no strength.

    Raises InvalidRequest, which names what is wrong behind the strength.
    """
    first, *rest = text.split(",")
    try:
        strength = float(first) if first else 1.0
    except ValueError:
        return None
    levels, skips = (0.0, 1.0), list[str]()
    for part in rest:
        name, _, value = part.partition("=")
        match name:
            case "levels":
                levels = _levels(value)
            case "skip" if value:
                skips.append(value)
            case _:
                raise InvalidRequest(
                    f"{part!r:.80} says nothing of an adapter; give levels=LOW-HIGH or skip=LAYER"
                )
    return AdapterEffect(strength, levels, ",".join(skips))


def active_sets(effects: list[AdapterEffect]) -> list[tuple[int, ...]]:
    """Return every set of indices that acts together at some noise level, from much noise to little."""
    bounds = sorted({0.0, 1.0, *(bound for effect in effects for bound in effect.levels)})
    levels = sorted({*bounds, *((low + high) / 2 for low, high in pairwise(bounds))}, reverse=True)
    return list(dict.fromkeys(active_set(effects, level) for level in levels))


def active_set(effects: list[AdapterEffect], level: float) -> tuple[int, ...]:
    """Return the indices of the effects that act at a noise level."""
    return tuple(index for index, effect in enumerate(effects) if effect.acts_at(level))


def _levels(text: str) -> tuple[float, float]:
    found = LEVELS.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"levels={text:.80} must be two numbers from 0 to 1, such as 0.2-0.9")
    return float(found[1]), float(found[2])


def _parts(skip: str) -> list[str]:
    return [part.strip().lower() for part in skip.split(",") if part.strip()]


def _numbers(start: str, end: str) -> range:
    first, last = int(start), int(end)
    return range(min(first, last), max(first, last) + 1)


def _count(skip: str) -> int:
    """Return how many texts `_expanded` makes."""
    total = 0
    for part in _parts(skip):
        count = 1
        for start, end in RANGE.findall(part):
            count *= len(_numbers(start, end))
        total += count
    return total


def _expanded(skip: str) -> list[str]:
    """Return the parts with every number of their ranges."""
    texts = []
    for part in _parts(skip):
        literals = RANGE.split(part)[::3]
        ranges = [map(str, _numbers(start, end)) for start, end in RANGE.findall(part)]
        for chosen in product(*ranges):
            ends = (*chosen, "")
            texts.append("".join(a + b for a, b in zip(literals, ends, strict=True)))
    return texts

"""Do two people mean the same? Cohen's kappa over the first and second decisions, in whole numbers until the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from auralith.curation.review.queue import Case, cases
from auralith.curation.review.rules import CHOICES, Choice


@dataclass(frozen=True)
class Agreement:
    """How often the first and the second reviewer agreed, and how much of it chance would give."""

    stage: str
    counts: dict[tuple[Choice, Choice], int]
    """Items by first and second decision, all nine pairs."""

    @property
    def num_items(self) -> int:
        """Items with at least two decisions."""
        return sum(self.counts.values())

    @property
    def observed(self) -> Fraction | None:
        """p_o: the share decided equally; None without items."""
        if not self.num_items:
            return None
        return Fraction(sum(self.counts[choice, choice] for choice in CHOICES), self.num_items)

    @property
    def expected(self) -> Fraction | None:
        """p_e: what independent reviewers with the same habits would share; None without items."""
        if not self.num_items:
            return None
        both = [self._by_first(choice) * self._by_second(choice) for choice in CHOICES]
        return Fraction(sum(both), self.num_items**2)

    @property
    def kappa(self) -> float | None:
        """(p_o − p_e) / (1 − p_e), at most 1; None where it is undefined: without items, or where p_e is 1 because
        both always said the same one thing."""
        observed, expected = self.observed, self.expected
        if observed is None or expected is None or expected == 1:
            return None
        return float((observed - expected) / (1 - expected))

    def _by_first(self, choice: Choice) -> int:
        return sum(self.counts[choice, other] for other in CHOICES)

    def _by_second(self, choice: Choice) -> int:
        return sum(self.counts[other, choice] for other in CHOICES)


def agreement_of(stage: str, pairs: Sequence[tuple[Choice, Choice]]) -> Agreement:
    """Agreement over pairs of a first and a second decision."""
    found = Counter(pairs)
    return Agreement(stage, {(one, two): found[one, two] for one in CHOICES for two in CHOICES})


def agreement(folder: Path) -> list[Agreement]:
    """The agreement on each stage with items, in alphabetical order; raises `InvalidRequest` without a review."""
    by_stage: dict[str, list[Case]] = {}
    for case in cases(folder):
        by_stage.setdefault(case.item.stage, []).append(case)
    return [
        agreement_of(stage, [_first_two(case) for case in found if len(case.decisions) >= 2])
        for stage, found in sorted(by_stage.items())
    ]


def _first_two(case: Case) -> tuple[Choice, Choice]:
    first, second = case.decisions[:2]
    return first.decision, second.decision

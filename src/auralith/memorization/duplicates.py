"""Duplicates among recordings: groups of pairs that an embedding finds near and something else confirms.

The published procedure sets a threshold by hand such that pairs above it are exact replicas (arXiv 2407.14358, section
5.3). Here each pair near enough is confirmed in order: by equal samples, by landmarks that chance does not align, by the
correlation of mel spectrograms. The threshold is then the largest cosine of a pair that nothing confirmed. Two test tones
may be nearer to each other than any two copies are, so confirmed pairs below the threshold are groups, too, by another
name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from auralith.disjoint_sets import DisjointSets

Confirmation = Literal["samples", "landmarks", "mel"]
LANDMARK_P = 1e-9
MEL_CORRELATION = 0.95
"""Correlation over a whole window from which on two recordings are one. Copies as MP3 or 20 dB softer have 0.97 and more,
other melodies at most 0.2; but two strokes that die away reach 0.98 over their two seconds (docs/evaluation.md), so what
is shorter than a window is not confirmed by it."""
MIN_COSINE = 0.5
"""Cosine from which on a pair is looked at, the largest cosines first."""


@dataclass(frozen=True)
class Pair:
    """Two recordings near each other, and the first test that confirmed them as one sound."""

    first: str
    second: str
    cosine: float
    confirmed_by: Confirmation | None


@dataclass(frozen=True)
class ConfirmedDuplicates:
    """Groups of at least two recordings, by their first member."""

    threshold: float
    """Largest cosine of a refuted pair, unless it was given."""
    by_embedding: Mapping[str, Sequence[str]]
    """Groups that cosines of at least the threshold alone would make."""
    confirmed: Mapping[str, Sequence[str]]
    """Groups of pairs of at least the threshold that were confirmed, too."""
    copies: Mapping[str, Sequence[str]]
    """Groups of confirmed pairs of any cosine that was looked at."""
    pairs: int
    """Pairs of at least the threshold."""
    confirmed_pairs: int

    @property
    def repeated_by_embedding(self) -> int:
        """Return the number of recordings in groups that cosines alone make."""
        return sum(map(len, self.by_embedding.values()))

    @property
    def repeated(self) -> int:
        """Return the number of recordings in groups of pairs of at least the threshold that were confirmed."""
        return sum(map(len, self.confirmed.values()))

    @property
    def copied(self) -> int:
        """Return the number of recordings in groups of confirmed pairs of any cosine."""
        return sum(map(len, self.copies.values()))


Test = Callable[[str, str], bool]


def confirmed(
    near: Iterable[tuple[str, str, float]],
    pcm_sha256: Mapping[str, str],
    same_landmarks: Test,
    same_mel: Test,
) -> list[Pair]:
    """Return each pair with the first test that confirms it; the cheaper tests come first."""

    def test(first: str, second: str) -> Confirmation | None:
        if pcm_sha256.get(first) and pcm_sha256.get(first) == pcm_sha256.get(second):
            return "samples"
        if same_landmarks(first, second):
            return "landmarks"
        return "mel" if same_mel(first, second) else None

    return [Pair(one, other, cosine, test(one, other)) for one, other, cosine in near]


def refuted_cosine(pairs: Sequence[Pair], least: float = MIN_COSINE) -> float:
    """Return the largest cosine of a pair that nothing confirmed; `least`, from which on pairs were looked at, without one."""
    return max((pair.cosine for pair in pairs if pair.confirmed_by is None), default=least)


def find_duplicates(
    ids: Sequence[str], pairs: Sequence[Pair], threshold: float | None = None
) -> ConfirmedDuplicates:
    """Return the groups of pairs of at least `threshold`, which is `refuted_cosine` if left out."""
    least = refuted_cosine(pairs) if threshold is None else threshold
    near = [pair for pair in pairs if pair.cosine >= least]
    sure = _confirmed_of(near)
    groups = (_groups(ids, near), _groups(ids, sure), _groups(ids, _confirmed_of(pairs)))
    return ConfirmedDuplicates(least, *groups, len(near), len(sure))


def _confirmed_of(pairs: Iterable[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.confirmed_by is not None]


def _groups(ids: Sequence[str], pairs: Iterable[Pair]) -> dict[str, list[str]]:
    sets = DisjointSets(ids)
    for pair in pairs:
        sets.join(pair.first, pair.second)
    return {name: group for name, group in sets.groups().items() if len(group) > 1}

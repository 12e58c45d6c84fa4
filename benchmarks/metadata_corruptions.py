"""Quality of the metadata search: recall by kind of damage, and precision against recall.

Each corruption misspells a track of the catalogue as a careless list would; recall is the share of such tracks that the
search finds again, by tier. A track that the corruption leaves unchanged (mojibake of an ASCII title) doesn't count.
"identity" changes nothing, and its recall must be 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auralith.curation.metadata.catalogue import Work
from auralith.curation.metadata.normalize import latin
from auralith.curation.metadata.search import TIERS, Searcher, Tier

Corruption = Callable[[Work, np.random.Generator], Work]
"""Returns another spelling of a work, or the work itself if the corruption doesn't apply to it."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_GUESTS = (" feat. Mira Volk", " ft. Otto Brandt", " (feat. Nils & Ana)", " featuring The Lamps")
_QUALIFIERS = (" (Remastered 2011)", " [Live]", " (Radio Edit)", " - Mono Version", " (Demo)")


def _in_one_field(change: Callable[[str, np.random.Generator], str]) -> Corruption:
    """Apply a change to the title or to the artist, at random."""

    def corrupt(work: Work, rng: np.random.Generator) -> Work:
        if rng.random() < 0.5:
            return replace(work, title=change(work.title, rng))
        return replace(work, artist=change(work.artist, rng))

    return corrupt


def _in_both_fields(change: Callable[[str], str]) -> Corruption:
    def corrupt(work: Work, rng: np.random.Generator) -> Work:
        return replace(work, title=change(work.title), artist=change(work.artist))

    return corrupt


def _typo(text: str, rng: np.random.Generator) -> str:
    """Replace, leave out or double one letter."""
    if not text:
        return text
    at = int(rng.integers(len(text)))
    other = _LETTERS[rng.integers(len(_LETTERS))]
    return text[:at] + (other, "", text[at] * 2)[rng.integers(3)] + text[at + 1 :]


def _swap(text: str, rng: np.random.Generator) -> str:
    """Swap two neighboring letters."""
    if len(text) < 2:
        return text
    at = int(rng.integers(len(text) - 1))
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _reorder(work: Work, rng: np.random.Generator) -> Work:
    """Put the artist's last word first, with a comma."""
    first, _, last = work.artist.rpartition(" ")
    return replace(work, artist=f"{last}, {first}") if first else work


def _guest(work: Work, rng: np.random.Generator) -> Work:
    guest = _GUESTS[rng.integers(len(_GUESTS))]
    if rng.random() < 0.5:
        return replace(work, artist=work.artist + guest)
    return replace(work, title=work.title + guest)


def _qualifier(work: Work, rng: np.random.Generator) -> Work:
    return replace(work, title=work.title + _QUALIFIERS[rng.integers(len(_QUALIFIERS))])


def _file_name(work: Work, rng: np.random.Generator) -> Work:
    return replace(work, title=f"{rng.integers(1, 20):02} - {work.title}.mp3")


def _mojibake(text: str) -> str:
    """Read UTF-8 as Windows-1252, or as Latin-1 if that has no such character."""
    raw = text.encode()
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


CORRUPTIONS: Mapping[str, Corruption] = {
    "identity": lambda work, rng: work,
    "typo": _in_one_field(_typo),
    "swap": _in_one_field(_swap),
    "reorder": _reorder,
    "feat.": _guest,
    "transliteration": _in_both_fields(latin),
    "mojibake": _in_both_fields(_mojibake),
    "qualifier": _qualifier,
    "file name": _file_name,
}


@dataclass(frozen=True)
class Recall:
    """Number of corrupted tracks that were found again, by tier."""

    corruption: str
    total: int
    by_tier: Mapping[Tier, int]

    @property
    def found(self) -> int:
        return sum(self.by_tier.values())

    @property
    def recall(self) -> float:
        """Share of the tracks that were found, 0 to 1; NaN if the corruption applies to none."""
        return self.found / self.total if self.total else float("nan")


def corrupted(works: Sequence[Work], corruption: str, seed: int) -> tuple[list[Work], list[Work]]:
    """Return the works that the corruption changes (all, for "identity"), before and after."""
    rng = np.random.default_rng(seed)
    pairs = [(work, CORRUPTIONS[corruption](work, rng)) for work in works]
    changed = [(old, new) for old, new in pairs if corruption == "identity" or new != old]
    return [old for old, _ in changed], [new for _, new in changed]


def recall_by_corruption(searcher: Searcher, sample: Sequence[Work], seed: int) -> list[Recall]:
    """Return the recall of each corruption over a sample of the catalogue's tracks."""
    return [recall_of(corruption, searcher, sample, seed) for corruption in CORRUPTIONS]


def recall_of(corruption: str, searcher: Searcher, sample: Sequence[Work], seed: int) -> Recall:
    """Return the recall of one corruption; that of "identity" must be 1."""
    positions = {work: position for position, work in enumerate(searcher.catalogue.works)}
    originals, queries = corrupted(sample, corruption, seed)
    wanted = np.array([positions[work] for work in originals], dtype=np.int64)
    pairs = searcher.pairs(queries)
    ranks = pairs.rank[pairs.reference == wanted[pairs.query]]
    counts = np.bincount(ranks, minlength=len(TIERS) + 1).tolist()
    return Recall(corruption, len(originals), dict(zip(TIERS, counts[:-1], strict=True)))


@dataclass(frozen=True)
class CurvePoint:
    """Precision and recall of a threshold on the lower of both scores."""

    threshold: float
    precision: float
    """Share of the pairs at or above the threshold that are the same track; NaN if there are none."""
    recall: float
    """Share of the tracks that are found."""


def precision_recall(
    searcher: Searcher,
    sample: Sequence[Work],
    strangers: Sequence[Work],
    thresholds: Sequence[float],
    seed: int,
) -> list[CurvePoint]:
    """Return the curve over all corruptions but identity; `strangers` are tracks that the catalogue lacks.

    Pairs with the same title and artist under another id count as the same track: no text tells them apart.
    """
    kinds = [kind for kind in CORRUPTIONS if kind != "identity"]
    parts = [corrupted(sample, kind, seed) for kind in kinds]
    originals = [work for old, _ in parts for work in old]
    pairs = searcher.pairs([*(work for _, new in parts for work in new), *strangers])
    names = [(work.artist, work.title) for work in searcher.catalogue.works]
    wanted = [(work.artist, work.title) for work in originals]
    true = np.array(
        [q < len(wanted) and wanted[q] == names[r] for q, r in zip(pairs.query.tolist(), pairs.reference.tolist(), strict=True)],
        dtype=bool,
    )  # fmt: skip
    lower = np.minimum(pairs.artist_score, pairs.title_score)
    points = []
    for threshold in thresholds:
        kept = lower >= threshold
        right = int((kept & true).sum())
        found = len(np.unique(pairs.query[kept & true]))
        precision = right / int(kept.sum()) if kept.any() else float("nan")
        points.append(CurvePoint(float(threshold), precision, found / max(1, len(wanted))))
    return points

"""Lists of a reviewer's items, progress, and how much each has decided: the frame of the review page around one item."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auralith.curation.review.comparison import compared
from auralith.curation.review.log import read_payload, reading
from auralith.curation.review.queue import Case
from auralith.curation.review.rules import Decision, reviewer_key

View = Literal["open", "conflicts", "decided"]


@dataclass(frozen=True)
class Progress:
    """Numbers of items that newer evidence has not replaced."""

    total: int
    settled: int
    conflicts: int
    """Open ones that wait for a third person."""
    decisions: int
    left: int
    """Open ones that the asking reviewer may decide on; 0 without one."""


@dataclass(frozen=True)
class Reviewer:
    """A person who has decided on items."""

    name: str
    """Name as it was first written."""
    decisions: int


def seen_by(cases: Iterable[Case], reviewer: str, view: View) -> list[Case]:
    """Return what a reviewer may decide on, in the order of review; the conflicts among it; or what they have decided,
    the latest first.

    Nobody is shown which of their own decisions another person differs from.
    """
    if view == "decided":
        own = [(case.decision_of(reviewer), case) for case in cases if not case.superseded]
        made = [(one.at, one.seq, case) for one, case in own if one]
        return [case for *_, case in sorted(made, key=lambda entry: entry[:2], reverse=True)]
    free = [case for case in cases if case.may_decide(reviewer)]
    return free if view == "open" else [case for case in free if case.is_conflict]


def titles(folder: Path, cases: Sequence[Case]) -> list[str]:
    """Return the title of each item, or the id of the recording; untrusted text."""
    with reading(folder) as connection:
        payloads = [read_payload(connection, case.item.item_id) for case in cases]
    found = [compared(payload).suspect.title for payload in payloads]
    return [title or case.item.rec_id for title, case in zip(found, cases, strict=True)]


def progress(cases: Iterable[Case], reviewer: str = "") -> dict[str, Progress]:
    """Return the progress of each stage that has items, in alphabetical order."""
    stages: dict[str, list[Case]] = {}
    for case in cases:
        if not case.superseded:
            stages.setdefault(case.item.stage, []).append(case)
    return {name: _progress(stages[name], reviewer) for name in sorted(stages)}


def _progress(cases: Sequence[Case], reviewer: str) -> Progress:
    return Progress(
        total=len(cases),
        settled=sum(case.settled is not None for case in cases),
        conflicts=sum(case.is_conflict for case in cases),
        decisions=sum(len(case.decisions) for case in cases),
        left=sum(case.may_decide(reviewer) for case in cases) if reviewer else 0,
    )


def reviewers(cases: Iterable[Case]) -> list[Reviewer]:
    """Return everybody who has decided, by name."""
    made: list[Decision] = [one for case in cases for one in case.decisions]
    counts = Counter(reviewer_key(one.reviewer) for one in made)
    names: dict[str, str] = {}
    for one in sorted(made, key=lambda one: one.seq):
        names.setdefault(reviewer_key(one.reviewer), one.reviewer)
    return sorted((Reviewer(name, counts[key]) for key, name in names.items()), key=str)

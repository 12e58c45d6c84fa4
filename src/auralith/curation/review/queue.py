"""Who looks at what, and what came of it: the functions that the command line and a web page call, on plain values.

The state of an item is folded from its decisions each time; nothing stores it. A reviewer sees nobody else's decision on
an item until it is settled. Evidence that was made again under other settings opens a new item, which takes the place of
the recording's older one of that stage; what people removed stays removed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Literal

from auralith.curation.review.log import (
    Item,
    append_decision,
    append_item,
    is_begun,
    newest_item_id,
    read_decisions,
    read_items,
    read_payload,
    reading,
    writing,
)
from auralith.curation.review.rules import (
    CHOICES,
    Choice,
    Decision,
    Role,
    Settled,
    check_choice,
    check_note,
    next_role,
    reviewer_key,
    reviewer_name,
    settle,
)
from auralith.curation.review.suspects import Suspect
from auralith.errors import InvalidRequest
from auralith.files import utc_now

State = Literal["open", "kept", "removed"]
TIER_ORDER = ("match", "A", "B", "D", "E", "indeterminate", "error", "C")
"""What is looked at first; within a tier by group (album, artist), then by score."""


@dataclass(frozen=True)
class Case:
    """An item with its decisions."""

    item: Item
    decisions: tuple[Decision, ...]
    superseded: bool = False
    """Newer evidence has taken its place."""

    @property
    def settled(self) -> Settled | None:
        return settle(self.decisions, self.item.is_match)

    @property
    def state(self) -> State:
        return self.settled.state if self.settled else "open"

    @property
    def role(self) -> Role | None:
        """Whose turn it is; None if it is nobody's."""
        return None if self.superseded else next_role(self.decisions, self.item.is_match)

    def may_decide(self, reviewer: str) -> bool:
        """Whether it is open and this person has not decided on it."""
        key = reviewer_key(reviewer)
        return self.role is not None and all(
            reviewer_key(one.reviewer) != key for one in self.decisions
        )


@dataclass(frozen=True)
class ItemView:
    """An item as one reviewer may see it."""

    item: Item
    payload: dict[str, Any]
    """"recording" and "evidence", as they were when the item was opened. Untrusted text."""
    state: State
    role: Role | None
    decisions: tuple[Decision, ...]
    """All of them once it is settled; before that only the viewer's own."""


@dataclass(frozen=True)
class ReviewState:
    """What people say of a recording, over all its items."""

    rec_id: str
    state: State
    stage: str
    """Of the item that says so: the first one that removes it, else that is open, else that keeps it."""
    reason_code: str | None
    """None while it is open."""
    item_id: str
    evidence_key: str
    """Provider, version and settings of the evidence that was looked at: "provider/version/params_hash"."""


@dataclass(frozen=True)
class Recorded:
    """A decision as it went into the log, and the item's state after it."""

    decision: Decision
    state: State


def open_items(folder: Path, suspects: Sequence[Suspect]) -> int:
    """Put suspects in the queue, and say how many were not there yet. All go in or none."""
    now = utc_now()
    with writing(folder) as connection:
        return sum(append_item(connection, _item(one, now), dict(one.payload)) for one in suspects)


def _item(one: Suspect, now: str) -> Item:
    return Item(
        *(one.item_id, one.rec_id, one.stage, one.tier, one.score),
        *(one.is_match, one.grouped_by, one.evidence_key, now),
    )


def cases(folder: Path) -> list[Case]:
    """Every item with its decisions, in the order of review; raises as `reading` does."""
    with reading(folder) as connection:
        items, decisions = read_items(connection), read_decisions(connection)
    by_item: dict[str, list[Decision]] = {}
    for one in decisions:
        by_item.setdefault(one.item_id, []).append(one)
    newest = {(item.rec_id, item.stage): item.item_id for item in items}
    found = [
        Case(
            item,
            tuple(by_item.get(item.item_id, ())),
            superseded=newest[item.rec_id, item.stage] != item.item_id,
        )
        for item in items
    ]
    return sorted(found, key=_order)


def _order(case: Case) -> tuple[Any, ...]:
    item = case.item
    rank = TIER_ORDER.index(item.tier) if item.tier in TIER_ORDER else len(TIER_ORDER)
    return rank, item.grouped_by, item.score is None, -(item.score or 0.0), item.item_id


def next_item(folder: Path, reviewer: str, stage: str | None = None) -> ItemView | None:
    """The first item that this person may decide on; None if there is none.

    Raises:
        InvalidRequest: no name, or no review in the folder.
    """
    name = reviewer_name(reviewer)
    for case in cases(folder):
        if case.may_decide(name) and stage in (None, case.item.stage):
            return view_item(folder, case.item.item_id, name)
    return None


def view_item(folder: Path, item_id: str, reviewer: str | None = None) -> ItemView:
    """One item, with the decisions that this person may see.

    Raises:
        InvalidRequest: there is no such item.
    """
    with reading(folder) as connection:
        case = _case(connection, item_id)
        payload = read_payload(connection, item_id)
    key = reviewer_key(reviewer or "")
    seen = [one for one in case.decisions if case.settled or reviewer_key(one.reviewer) == key]
    return ItemView(case.item, payload, case.state, case.role, tuple(seen))


def _case(connection: Connection, item_id: str) -> Case:
    found = read_items(connection, item_id) if item_id.isascii() else []
    if not found:
        raise InvalidRequest(
            f"there is no item {item_id!r} in this review; see: auralith curate review list"
        )
    [item] = found
    newest = newest_item_id(connection, item.rec_id, item.stage)
    return Case(item, tuple(read_decisions(connection, item_id)), superseded=newest != item_id)


def decide(
    folder: Path,
    item_id: str,
    reviewer: str,
    decision: str,
    reason_code: str | None = None,
    note: str = "",
) -> Recorded:
    """Write down what somebody decides on an item.

    Raises:
        InvalidRequest: no such item, a settled or replaced one, no name, one who has decided on it already, or a
            decision or reason that is none. Nothing is written then.
    """
    [result] = decide_many(folder, [Entry(item_id, reviewer, decision, reason_code, note)])
    if isinstance(result, InvalidRequest):
        raise result
    return result


@dataclass(frozen=True)
class Entry:
    """A decision that somebody hands in."""

    item_id: str
    reviewer: str
    decision: str
    reason_code: str | None = None
    note: str = ""


def decide_many(folder: Path, entries: Sequence[Entry]) -> list[Recorded | InvalidRequest]:
    """Write down decisions in their order, in one transaction; what is wrong with one says its result."""
    with reading(folder):  # that has one; `writing` would make it
        pass
    with writing(folder) as connection:
        return [_record(connection, entry) for entry in entries]


def _record(connection: Connection, entry: Entry) -> Recorded | InvalidRequest:
    try:
        case = _case(connection, entry.item_id)
        made = _decision(case, entry)
    except InvalidRequest as error:
        return error
    made = replace(made, seq=append_decision(connection, made))
    return Recorded(made, replace(case, decisions=(*case.decisions, made)).state)


def _decision(case: Case, entry: Entry) -> Decision:
    """The decision that an entry is, by the rules; its `seq` is not known yet."""
    name, item = reviewer_name(entry.reviewer), case.item
    if any(reviewer_key(one.reviewer) == reviewer_key(name) for one in case.decisions):
        raise InvalidRequest(
            f"{name} has decided on {item.item_id} already; take another: review next"
        )
    if case.superseded:
        raise InvalidRequest(
            f"{item.item_id} was replaced by newer evidence; take another: review next"
        )
    if case.role is None:
        raise InvalidRequest(f"{item.item_id} is settled ({case.state}); take another: review next")
    code = (entry.reason_code or "").strip() or None
    choice = check_choice(entry.decision, code, case.role)
    note = check_note(entry.note)
    return Decision(0, item.item_id, item.rec_id, name, case.role, choice, code, note, utc_now())


def verdicts(folder: Path) -> dict[str, ReviewState]:
    """What people say of each recording that was put before them; nothing where there is no review yet.

    Removed as soon as one of its items is removed, kept once the newest item of each stage is.
    """
    if not is_begun(folder):
        return {}
    by_recording: dict[str, list[Case]] = {}
    for case in cases(folder):
        if not case.superseded or case.state == "removed":
            by_recording.setdefault(case.item.rec_id, []).append(case)
    return {rec_id: _state(found) for rec_id, found in by_recording.items()}


def _state(found: Sequence[Case]) -> ReviewState:
    says = min(found, key=lambda case: ("removed", "open", "kept").index(case.state))
    return ReviewState(
        rec_id=says.item.rec_id,
        state=says.state,
        stage=says.item.stage,
        reason_code=says.settled.reason_code if says.settled else None,
        item_id=says.item.item_id,
        evidence_key=says.item.evidence_key,
    )


@dataclass(frozen=True)
class Agreement:
    """The agreement of the first and the second reviewer of a stage, from which Cohen's kappa follows."""

    stage: str
    counts: dict[tuple[Choice, Choice], int]
    """Items by first and second decision, all nine pairs."""

    @property
    def num_items(self) -> int:
        """Items with at least two decisions."""
        return sum(self.counts.values())

    @property
    def kappa(self) -> float | None:
        """(p_o − p_e) / (1 − p_e); None without items, and where both always decided the same one thing (p_e = 1)."""
        size = self.num_items
        agreed = sum(self.counts[choice, choice] for choice in CHOICES) * size
        first, second = Counter[str](), Counter[str]()
        for (one, two), count in self.counts.items():
            first[one] += count
            second[two] += count
        by_chance = sum(first[choice] * second[choice] for choice in CHOICES)
        return None if by_chance == size**2 else (agreed - by_chance) / (size**2 - by_chance)


def agreement(folder: Path) -> list[Agreement]:
    """Return the agreement on each stage with items, in alphabetical order.

    Raises:
        InvalidRequest: there is no review.
    """
    pairs: dict[str, list[tuple[Choice, Choice]]] = {}
    for case in cases(folder):
        found = pairs.setdefault(case.item.stage, [])
        if len(case.decisions) >= 2:
            found.append((case.decisions[0].decision, case.decisions[1].decision))
    return [agreement_of(stage, pairs[stage]) for stage in sorted(pairs)]


def agreement_of(stage: str, pairs: Sequence[tuple[Choice, Choice]]) -> Agreement:
    """Return the agreement over pairs of a first and a second decision."""
    found = Counter(pairs)
    return Agreement(stage, {(one, two): found[one, two] for one in CHOICES for two in CHOICES})

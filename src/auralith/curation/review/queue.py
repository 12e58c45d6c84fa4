"""The review queue: items for a reviewer, decisions, and outcomes. The command line and a web page call these functions.

The state of an item is computed from its decisions each time and never stored. A reviewer sees no other decision on an
item until it is settled. Evidence made under other settings opens a new item, which supersedes the recording's older item
of that stage; a removal stays.
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
"""Order of review; within a tier items are ordered by group (album, artist), then by score."""


@dataclass(frozen=True)
class Case:
    """An item with its decisions."""

    item: Item
    decisions: tuple[Decision, ...]
    superseded: bool = False
    """Newer evidence has opened another item in its place."""

    @property
    def settled(self) -> Settled | None:
        return settle(self.decisions, self.item.is_match)

    @property
    def state(self) -> State:
        return self.settled.state if self.settled else "open"

    @property
    def role(self) -> Role | None:
        """Return the role of the next decision; None if no decision is due."""
        return None if self.superseded else next_role(self.decisions, self.item.is_match)

    def may_decide(self, reviewer: str) -> bool:
        """Return whether the item is open and this person has not decided on it."""
        key = reviewer_key(reviewer)
        return self.role is not None and all(
            reviewer_key(one.reviewer) != key for one in self.decisions
        )


@dataclass(frozen=True)
class ItemView:
    """An item as one reviewer may see it."""

    item: Item
    payload: dict[str, Any]
    """"recording" and "evidence" at the time the item was opened; untrusted text."""
    state: State
    role: Role | None
    decisions: tuple[Decision, ...]
    """All decisions once the item is settled; before that, only the viewer's own."""


@dataclass(frozen=True)
class RecordedDecision:
    """A decision as the log has it, and the state of its item after it."""

    decision: Decision
    state: State


def open_items(folder: Path, suspects: Sequence[Suspect]) -> int:
    """Put suspects into the queue, all or none, and return how many are new."""
    now = utc_now()
    with writing(folder) as connection:
        return sum(append_item(connection, _item(one, now), dict(one.payload)) for one in suspects)


def _item(one: Suspect, now: str) -> Item:
    return Item(
        *(one.item_id, one.rec_id, one.stage, one.tier, one.score),
        *(one.is_match, one.grouped_by, one.evidence_key, now),
    )


def cases(folder: Path) -> list[Case]:
    """Return every item with its decisions, in the order of review. Raises as `reading` does."""
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
    """Return the first item that this person may decide on; None if there is none.

    Raises:
        InvalidRequest: the name is empty, or the folder has no review.
    """
    name = reviewer_name(reviewer)
    for case in cases(folder):
        if case.may_decide(name) and stage in (None, case.item.stage):
            return view_item(folder, case.item.item_id, name)
    return None


def view_item(folder: Path, item_id: str, reviewer: str | None = None) -> ItemView:
    """Return an item with the decisions that this person may see.

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
) -> RecordedDecision:
    """Record a person's decision on an item.

    Raises:
        InvalidRequest: the item is unknown, settled or superseded, the name is empty or has decided already, or the
            decision or reason is invalid. Nothing is written then.
    """
    [result] = decide_many(folder, [NewDecision(item_id, reviewer, decision, reason_code, note)])
    if isinstance(result, InvalidRequest):
        raise result
    return result


@dataclass(frozen=True)
class NewDecision:
    """A decision to be recorded."""

    item_id: str
    reviewer: str
    decision: str
    reason_code: str | None = None
    note: str = ""


def decide_many(
    folder: Path, entries: Sequence[NewDecision]
) -> list[RecordedDecision | InvalidRequest]:
    """Record decisions in order, in one transaction; the result of an invalid one is its error."""
    with reading(folder):  # requires an existing review, which `writing` would begin
        pass
    with writing(folder) as connection:
        return [_record(connection, entry) for entry in entries]


def _record(connection: Connection, entry: NewDecision) -> RecordedDecision | InvalidRequest:
    try:
        case = _case(connection, entry.item_id)
        made = _decision(case, entry)
    except InvalidRequest as error:
        return error
    made = replace(made, seq=append_decision(connection, made))
    return RecordedDecision(made, replace(case, decisions=(*case.decisions, made)).state)


def _decision(case: Case, entry: NewDecision) -> Decision:
    """Return an entry as a decision, if the rules allow it; its `seq` is not known yet."""
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


@dataclass(frozen=True)
class Agreement:
    """The agreement of the first and the second reviewer of a stage, from which Cohen's kappa follows."""

    stage: str
    counts: dict[tuple[Choice, Choice], int]
    """Number of items by first and second decision, for all nine pairs."""

    @property
    def num_items(self) -> int:
        """Return the number of items with at least two decisions."""
        return sum(self.counts.values())

    @property
    def kappa(self) -> float | None:
        """Return (p_o − p_e) / (1 − p_e); None without items, and if all decisions are the same (p_e = 1)."""
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

"""The review queue: suspects from the evidence, items for a reviewer, and decisions. The command line and a web page call
these functions.

Suspects are every match, every error or indeterminate answer, and every tier of the metadata search. The last row of a
recording in a stage counts, not those of earlier runs under other settings. The recording's metadata and the whole
evidence are stored with the item, so that it can be shown unchanged later.

The state of an item is computed from its decisions each time and never stored. A reviewer sees no other decision on an
item until it is settled. A person may replace their decision while the item is open, or as long as nobody has decided
after them; the log keeps what was replaced. Evidence made under other settings opens a new item, which supersedes the
recording's older item of that stage; a removal stays.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Literal

from auralith.curation.review import chain
from auralith.curation.review.log import (
    Item,
    append_decision,
    append_item,
    append_revision,
    is_begun,
    log_path,
    newest_item_id,
    read_decisions,
    read_items,
    read_payload,
    reading,
    require_begun,
    writing,
)
from auralith.curation.review.rules import (
    Agreement,
    Choice,
    Decision,
    Outdated,
    Role,
    Settled,
    UnknownItem,
    agreement_of,
    check_choice,
    check_note,
    next_role,
    reviewer_key,
    reviewer_name,
    settle,
)
from auralith.curation.store import EVIDENCE, EvidenceKey, Store
from auralith.errors import InvalidRequest
from auralith.files import utc_now

REVIEWED_STAGES = ("identify", "metadata")
_SHOWN = (
    "rec_id",
    "source",
    "path",
    "url",
    "title",
    "author",
    "author_url",
    "album",
    "year",
    "duration_s",
)
"""Columns of `recordings` that a reviewer sees."""
_SHOWN_LICENSE = ("license_raw", "license_url_raw")
State = Literal["open", "kept", "removed"]
TIER_ORDER = ("match", "A", "B", "D", "E", "indeterminate", "error", "C")
"""Order of review; within a tier items are ordered by group (album, artist), then by score."""


@dataclass(frozen=True)
class Suspect:
    """A recording that people should judge, with the evidence."""

    rec_id: str
    stage: str
    tier: str
    score: float | None
    is_match: bool
    grouped_by: str
    evidence_key: str
    payload: Mapping[str, Any]

    @property
    def item_id(self) -> str:
        """Return an id that depends only on the evidence; its first letter keeps spreadsheets from reading a number."""
        text = "\n".join((self.rec_id, self.stage, self.evidence_key))
        return "r" + hashlib.sha256(text.encode()).hexdigest()[:16]


def suspects(store: Store) -> list[Suspect]:
    """Return all suspects of a curation's present evidence."""
    rows = [row for stage in REVIEWED_STAGES for row in _flagged(_last_rows(store, stage))]
    recordings = _recordings(store, {row["rec_id"] for row in rows})
    return [_suspect(row, recordings.get(row["rec_id"], {})) for row in rows]


def _last_rows(store: Store, stage: str) -> Iterable[dict[str, Any]]:
    return {row["rec_id"]: row for row in store.read(stage).to_pylist()}.values()


def _flagged(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["verdict"] != "pass")


def _recordings(store: Store, wanted: set[str]) -> dict[str, dict[str, Any]]:
    table = store.recordings([*_SHOWN, *_SHOWN_LICENSE])
    return {row["rec_id"]: row for row in table.to_pylist() if row["rec_id"] in wanted}


def _suspect(row: dict[str, Any], recording: dict[str, Any]) -> Suspect:
    tier = _tier(row)
    grouping = {"C": "author", "E": "album"}.get(tier)
    own = {
        name: value
        for name, value in row.items()
        if name not in EVIDENCE.names and value is not None
    }
    return Suspect(
        rec_id=row["rec_id"],
        stage=row["stage"],
        tier=tier,
        score=row["score"],
        is_match=tier == "match",
        grouped_by=(recording.get(grouping) or "") if grouping else "",
        evidence_key=str(EvidenceKey(row["provider"], row["provider_version"], row["params_hash"])),
        payload={
            "recording": recording,
            "evidence": {name: row[name] for name in EVIDENCE.names if name != "rec_id"} | own,
        },
    )


def _tier(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return row["status"]
    return "indeterminate" if row["verdict"] == "quarantine" else row.get("tier") or "match"


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
        """Return the role of the next decision; None if the item takes no more of them."""
        return None if self.superseded else next_role(self.decisions, self.item.is_match)

    @property
    def is_conflict(self) -> bool:
        """Return whether a third person must settle the item."""
        return self.role == "third"

    def decision_of(self, reviewer: str) -> Decision | None:
        """Return what a person has decided; None if nothing yet."""
        key = reviewer_key(reviewer)
        return next((one for one in self.decisions if reviewer_key(one.reviewer) == key), None)

    def may_decide(self, reviewer: str) -> bool:
        """Return whether the item is open and this person has not decided on it."""
        return self.role is not None and self.decision_of(reviewer) is None

    def may_replace(self, reviewer: str) -> bool:
        """Return whether this person may replace their decision: the item is open, or nobody has decided after them."""
        own = self.decision_of(reviewer)
        is_free = self.settled is None or own is self.decisions[-1]
        return own is not None and not self.superseded and is_free


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
    own: Decision | None = None
    """The viewer's decision."""
    may_decide: bool = False
    """The viewer may make a decision."""
    may_replace: bool = False
    """The viewer may replace their decision."""


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
        one.item_id,
        one.rec_id,
        one.stage,
        one.tier,
        one.score,
        one.is_match,
        one.grouped_by,
        one.evidence_key,
        now,
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
    """Return the first item that this person may decide on; None without one.

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
        UnknownItem: there is none of this id.
    """
    with reading(folder) as connection:
        case = _case(connection, item_id)
        payload = read_payload(connection, item_id)
    who = reviewer or ""
    own = case.decision_of(who)
    return ItemView(
        case.item,
        payload,
        case.state,
        case.role,
        decisions=case.decisions if case.settled else (own,) if own else (),
        own=own,
        may_decide=bool(who) and case.may_decide(who),
        may_replace=case.may_replace(who),
    )


def _case(connection: Connection, item_id: str) -> Case:
    found = read_items(connection, item_id) if item_id.isascii() else []
    if not found:
        raise UnknownItem(
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
    replaces: int | None = None,
) -> RecordedDecision:
    """Record a person's decision on an item.

    Raises:
        Outdated: the item is settled or superseded, the person has decided already, or what it replaces has changed.
        InvalidRequest: the item is unknown, or the name, decision, reason or note is invalid. Nothing is written then.
    """
    entry = NewDecision(item_id, reviewer, decision, reason_code, note, replaces)
    [result] = decide_many(folder, [entry])
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
    replaces: int | None = None
    """`Decision.revision` of the person's own decision that it replaces; None for their first one on the item."""


def decide_many(
    folder: Path, entries: Sequence[NewDecision]
) -> list[RecordedDecision | InvalidRequest]:
    """Record decisions in order, in one transaction; the result of an invalid one is its error."""
    require_begun(folder)  # `writing` would begin one
    with writing(folder) as connection:
        return [_record(connection, entry) for entry in entries]


def _record(connection: Connection, entry: NewDecision) -> RecordedDecision | InvalidRequest:
    try:
        case = _case(connection, entry.item_id)
        made = _decision(case, entry)
    except InvalidRequest as error:
        return error
    if made.revision:
        append_revision(connection, made)
        others = [made if one.seq == made.seq else one for one in case.decisions]
    else:
        made = replace(made, seq=append_decision(connection, made))
        others = [*case.decisions, made]
    return RecordedDecision(made, replace(case, decisions=tuple(others)).state)


def _decision(case: Case, entry: NewDecision) -> Decision:
    """Return an entry as a decision, if the rules allow it; the `seq` of a first one is not known yet."""
    name, item = reviewer_name(entry.reviewer), case.item
    own, role = case.decision_of(name), case.role
    if entry.replaces is not None:
        own = _replaced(case, name, entry.replaces)
        role = own.role
    elif own:
        raise Outdated(
            f"{name} has decided on {item.item_id} already; replace it, or take another: review next"
        )
    if case.superseded:
        raise Outdated(f"{item.item_id} was replaced by newer evidence; take another: review next")
    if role is None:
        raise Outdated(f"{item.item_id} is settled ({case.state}); take another: review next")
    code = (entry.reason_code or "").strip() or None
    choice = check_choice(entry.decision, code, role)
    made = Decision(0, item.item_id, item.rec_id, name, role, choice, code, "", utc_now())
    made = replace(made, note=check_note(entry.note))
    return replace(made, seq=own.seq, revision=own.revision + 1) if own else made


def _replaced(case: Case, name: str, revision: int) -> Decision:
    """Return a person's decision that may be replaced, if it is still the one of this revision."""
    own, id = case.decision_of(name), case.item.item_id
    if own is None or own.revision != revision:
        raise Outdated(f"the decision of {name} on {id} is not the one to replace; look again")
    if not case.may_replace(name) and not case.superseded:
        raise Outdated(f"{id} was settled by another person since; its decisions stay")
    return own


def agreement(folder: Path) -> list[Agreement]:
    """Return the agreement on each stage with items, in alphabetical order.

    Raises:
        InvalidRequest: the folder has no review.
    """
    pairs: dict[str, list[tuple[Choice, Choice]]] = {}
    for case in cases(folder):
        found = pairs.setdefault(case.item.stage, [])
        if len(case.decisions) >= 2:
            found.append((case.decisions[0].decision, case.decisions[1].decision))
    return [agreement_of(stage, pairs[stage]) for stage in sorted(pairs)]


def newest_entry(folder: Path) -> chain.Head | None:
    """Return the newest entry of the log; None without a log or without a chain."""
    if not is_begun(folder):
        return None
    with reading(folder) as connection:
        return chain.head(connection) if chain.has_chain(connection) else None


def check_head(folder: Path, noted: chain.Head) -> None:
    """Raise `ResourceError` unless the log has the entry that was its newest when a manifest was written."""
    if is_begun(folder):
        with reading(folder) as connection:
            if chain.has_chain(connection) and chain.contains(connection, noted):
                return
    raise chain.broken(
        log_path(folder), f"it lacks the {noted.entries} entries that the manifest records"
    )

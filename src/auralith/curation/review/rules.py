"""Rules of the review: valid decisions, who may make them, and when an item is settled. All functions are pure.

Two people decide without seeing each other's answer. If both keep or both remove, the item is settled; otherwise, also
after an "unsure", a third person must choose. Overturning an automatic match takes two decisions to keep.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from auralith.errors import Field, InvalidRequest, shown

Choice = Literal["keep", "remove", "unsure"]
Role = Literal["first", "second", "third"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
ROLES: tuple[Role, ...] = get_args(Role)
CODES: dict[Choice, tuple[str, ...]] = {
    "keep": (
        "rightsholder_is_uploader",
        "public_domain_composition_and_recording",
        "different_recording",
        "common_phrase",
        "false_match",
    ),
    "remove": (
        "commercial_recording",
        "background_music",
        "cover_of_protected_work",
        "license_dispute",
        "withdrawn",
        "other",
    ),
    "unsure": (),
}
"""Reason codes of each choice; "unsure" takes none."""
NOT_OVERTURNED = "match_not_overturned"
"""Reason code of an automatic match that stays removed because only one of three reviewers would keep it."""
_MAX_NAME = 100
_MAX_NOTE = 4_000
"""Largest lengths in characters."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision in the log."""

    seq: int
    item_id: str
    rec_id: str
    reviewer: str
    role: Role
    decision: Choice
    reason_code: str | None
    note: str
    at: str
    """Time in UTC, ISO 8601."""
    revision: int = 0
    """Number of times that the reviewer replaced it; decision, reason, note and time are the newest."""


class UnknownItem(InvalidRequest):
    """An item of this id was never opened."""


class Outdated(InvalidRequest):
    """A decision rests on a state of the item that has changed."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Outcome of an item."""

    state: Literal["kept", "removed"]
    reason_code: str


def settle(decisions: Sequence[Decision], is_match: bool) -> Settled | None:
    """Return the outcome of an item from its decisions in order; None while it is open."""
    if len(decisions) < 2:
        return None
    last = decisions[-1].decision
    if len(decisions) == 2 and (last == "unsure" or decisions[0].decision != last):
        return None
    agreeing = [one for one in decisions if one.decision == last]
    if last == "keep" and is_match and len(agreeing) < 2:
        return Settled("removed", NOT_OVERTURNED)
    return Settled("kept" if last == "keep" else "removed", agreeing[0].reason_code or "other")


def next_role(decisions: Sequence[Decision], is_match: bool) -> Role | None:
    """Return the role of the next decision; None for a settled item."""
    return None if settle(decisions, is_match) else ROLES[len(decisions)]


def check_choice(decision: str, reason_code: str | None, role: Role) -> Choice:
    """Return a decision if it is valid.

    Raises:
        InvalidRequest: the decision or code is unknown, they don't belong together, or a third reviewer is unsure.
    """
    choice: Choice | None = next((known for known in CHOICES if known == decision), None)
    if choice is None:
        raise InvalidRequest(
            Field("decision"), f" is {shown(decision)}; give one of {', '.join(CHOICES)}"
        )
    codes = CODES[choice]
    if codes and reason_code not in codes:
        fault = f"is {shown(reason_code)}" if reason_code else "is missing"
        raise InvalidRequest(
            Field("reason"), f" {fault}; to {decision}, give one of {', '.join(codes)}"
        )
    if reason_code and not codes:
        raise InvalidRequest(
            Field("reason"),
            f" is {shown(reason_code)}; 'unsure' takes no reason code, put it in the note",
        )
    if decision == "unsure" and role == "third":
        raise InvalidRequest(
            "the third reviewer settles a conflict; decide keep or remove, or leave it to another"
        )
    return choice


def check_note(note: str) -> str:
    """Return the note without surrounding white space.

    Raises:
        InvalidRequest: it is too long, or not valid text (NUL, bytes that are not UTF-8).
    """
    note = note.strip()
    if len(note) > _MAX_NOTE:
        raise InvalidRequest(
            Field("note"), f" has {len(note):,} characters, {_MAX_NOTE:,} at most; shorten it"
        )
    if any(sign == "\0" or unicodedata.category(sign) == "Cs" for sign in note):
        raise InvalidRequest(Field("note"), " is not valid text; write it in UTF-8")
    return note


def reviewer_name(name: str) -> str:
    """Return the name in the form that is shown, on one line.

    Raises:
        InvalidRequest: it is empty, too long, or has unprintable characters.
    """
    written = " ".join(unicodedata.normalize("NFC", name).split())
    if not reviewer_key(written):
        raise InvalidRequest(Field("reviewer"), " is missing; give a name with a letter or a digit")
    if len(written) > _MAX_NAME:
        raise InvalidRequest(
            Field("reviewer"),
            f" has {len(written)} characters, {_MAX_NAME} at most; shorten the name",
        )
    if not written.isprintable():
        raise InvalidRequest(
            Field("reviewer"), f" {shown(written)} has unprintable characters; leave them out"
        )
    return written


def reviewer_key(name: str) -> str:
    """Return a key of the person: names that differ only in case, encoding of accents, width or spaces share it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    key = "".join(sign for sign in folded if unicodedata.category(sign)[0] not in "ZC")
    return key if any(sign.isalnum() for sign in key) else ""


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


def agreement_of(stage: str, pairs: Sequence[tuple[Choice, Choice]]) -> Agreement:
    """Return the agreement over pairs of a first and a second decision."""
    found = Counter(pairs)
    return Agreement(stage, {(one, two): found[one, two] for one in CHOICES for two in CHOICES})

"""Withdrawal of recordings on request, by id, author or link: permanent, with a reason, in the log of decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auralith.curation.review import chain
from auralith.curation.review.log import (
    Withdrawal,
    append_withdrawal,
    is_begun,
    log_path,
    read_withdrawals,
    reading,
    writing,
)
from auralith.curation.review.rules import check_note, reviewer_name
from auralith.curation.store import Store
from auralith.errors import Field, InvalidRequest
from auralith.extras import require
from auralith.files import utc_now

pa = require("pyarrow", "curate")
compute = require("pyarrow.compute", "curate")
_COLUMN_OF = {"ids": "rec_id", "authors": "author", "urls": "url"}


@dataclass(frozen=True)
class Selection:
    """Selection of recordings; every value must match at least one."""

    ids: tuple[str, ...] = ()
    """`rec_id`, such as "freesound:7"."""
    authors: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    """The recording's page, as the source states it."""


def withdraw(folder: Path, selection: Selection, reason: str, reviewer: str = "") -> list[str]:
    """Take out recordings, and return the ids of those that were not out yet.

    Raises:
        InvalidRequest: nothing is selected, a value matches no recording, or the reason is empty. Nothing is written then.
        ResourceError: the log can't be used.
    """
    note = check_note(reason)
    if not note:
        raise InvalidRequest(Field("reason"), " is missing; a withdrawal needs one")
    who = reviewer_name(reviewer) if reviewer else ""
    ids, now = _found(folder, selection), utc_now()
    with writing(folder) as connection:
        return [id for id in ids if append_withdrawal(connection, Withdrawal(id, note, who, now))]


def withdrawals(folder: Path) -> list[Withdrawal]:
    """Return the withdrawals in order; none without a log.

    Raises:
        ResourceError: the log is damaged, or somebody changed it.
    """
    if not is_begun(folder):
        return []
    with reading(folder) as connection:
        return read_withdrawals(connection)


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


def _found(folder: Path, selection: Selection) -> list[str]:
    recordings = Store(folder).recordings(["rec_id", "author", "url"])
    found: dict[str, None] = {}
    for kind, column in _COLUMN_OF.items():
        values: Sequence[str] = getattr(selection, kind)
        for value in values:
            rows = recordings.filter(compute.equal(recordings[column].cast(pa.string()), value))
            if not rows.num_rows:
                raise InvalidRequest(
                    f"no recording in {folder} has the {column} {value[:100]!r}; see manifest.parquet"
                )
            found |= dict.fromkeys(rows["rec_id"].to_pylist())
    if not found:
        raise InvalidRequest(
            *("name what to take out: ids, ", Field("author"), " or ", Field("url"))
        )
    return sorted(found)

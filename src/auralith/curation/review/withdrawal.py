"""Withdrawals: recordings taken out on request, by id, author or link; permanent, and with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from auralith.curation.review.log import (
    Withdrawal,
    append_withdrawal,
    is_begun,
    read_withdrawals,
    reading,
    writing,
)
from auralith.curation.review.rules import check_note, reviewer_name
from auralith.curation.store import Store, compute
from auralith.errors import Field, InvalidRequest
from auralith.files import utc_now

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
        ResourceError: the log is damaged, or was changed.
    """
    if not is_begun(folder):
        return []
    with reading(folder) as connection:
        return read_withdrawals(connection)


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

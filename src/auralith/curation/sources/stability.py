"""Stability AI's attribution lists: `id,title,author,license,url`, the license without version.

The source of each row is seen from its URL, so that one rule reads both lists. Title and author stay exactly as they
were written: the lists repeat them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auralith.curation.sources.fma import SOURCE as FMA
from auralith.curation.sources.fma import fma_path
from auralith.curation.sources.freesound_pack import SOURCE as FREESOUND
from auralith.curation.sources.records import BadRow, Record, field, identity
from auralith.curation.sources.source import TableSource, batch_of

_COLUMNS = ("id", "title", "author", "license", "url")
_PAGE = re.compile(
    r"(?P<author>https?://(?:www\.)?(?P<site>freemusicarchive|freesound)\.org/(?:music|people)/[^/]+/).*"
)
_SOURCES = {"freemusicarchive": FMA, "freesound": FREESOUND}


def stability_list(path: Path, root: Path | None = None) -> TableSource:
    """One of the two published lists, or any of the same columns whose URLs lead to the two sites."""

    def convert(cells: Mapping[str, Any]) -> Record:
        return attribution_record(cells, root)

    return TableSource(batch_of("attribution", [path]), "attribution", [path], convert, _COLUMNS)


def attribution_record(cells: Mapping[str, Any], root: Path | None) -> Record:
    """A recording of a row; raises `BadRow` if its URL is of neither site."""
    url = field(cells, "url")
    page = _PAGE.fullmatch(url or "")
    if not page:
        raise BadRow("source_unknown" if field(cells, "id") else "no_id")
    record = identity(_SOURCES[page["site"]], cells.get("id"))
    is_fma = record["source"] == FMA
    return record | {
        "path": fma_path(record["source_id"], root) if is_fma else None,
        "url": url,
        "title": field(cells, "title"),
        "author": field(cells, "author"),
        "author_url": page["author"],
        "license_raw": field(cells, "license"),
    }

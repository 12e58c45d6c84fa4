"""Freesound data packs: one CSV of metadata per 1,000 ids, sounds under `<id // 1000>/<id>.<type>`.

License and preference are taken from each row: the variant's name says nothing, since its filter has been wrong
before. The pack's license is a name without version.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auralith.curation.links import page_link
from auralith.curation.sources.records import (
    Record,
    field,
    identity,
    named_path,
    seconds,
    words,
)
from auralith.curation.sources.source import TableSource, batch_of
from auralith.errors import InvalidRequest

SOURCE = "freesound"
SITE = "https://freesound.org"
_REQUIRED = ("filepath", "id", "username", "title", "license", "generative_ai_preference")


def data_pack(path: Path, root: Path | None = None) -> TableSource:
    """A metadata file (.csv, .json or .jsonl), or the folder of a pack with all of them.

    Raises:
        InvalidRequest: there is no metadata.
    """
    files = sorted(path.glob("**/metadata_*.csv")) if path.is_dir() else [path]
    if not files:
        raise InvalidRequest(f"{path} holds no metadata_*.csv; give the folder of a data pack")

    def convert(cells: Mapping[str, Any]) -> Record:
        return pack_record(cells, root)

    return TableSource(batch_of("freesound-pack", files), SOURCE, files, convert, _REQUIRED)


def pack_record(cells: Mapping[str, Any], root: Path | None) -> Record:
    """A recording of a row of a pack."""
    record = identity(SOURCE, cells.get("id"))
    author = field(cells, "username")
    return record | {
        "path": named_path(cells.get("filepath"), root),
        "url": sound_url(author, record["source_id"]),
        "title": field(cells, "title"),
        "author": author,
        "author_url": author_link(author),
        "tags": words(cells.get("tags")),
        "description": field(cells, "description"),
        "created": field(cells, "created"),
        "license_raw": field(cells, "license"),
        "gen_ai_preference": field(cells, "generative_ai_preference"),
        "category_code": field(cells, "bst_category"),
        "duration_s": seconds(cells.get("duration")),
    }


def author_link(author: str | None) -> str | None:
    """Return the page of a user, None where there is none."""
    return page_link(SITE, "people", author) if author else None


def sound_url(author: str | None, id: str) -> str:
    """The page of a sound; without its author the address that leads there."""
    page = page_link(SITE, "people", author, "sounds", id) if author else None
    return page or f"{SITE}/s/{id}/"

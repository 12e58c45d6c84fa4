"""The names that people give to the same column, in one table for training, batches, curation and sidecars.

Upper and lower case, spaces, hyphens and underscores make no difference. Where a table has several names of one
meaning, the first in the order below is taken.
"""

from collections.abc import Collection, Iterable, Mapping

NAMES: Mapping[str, tuple[str, ...]] = {
    "path": tuple(
        "path file_name filename filepath file_path file"
        " audio_path audio_filepath audio_file audio sound".split()
    ),
    "prompt": ("prompt", "text", "caption", "captions", "description"),
    "source_id": ("source_id", "id", "track_id", "sound_id"),
    "url": ("url", "page_url", "source_url", "link"),
    "title": ("title", "name", "track_name", "track_title"),
    "author": ("author", "artist", "creator", "username", "artist_name", "user", "uploader"),
    "author_url": ("author_url", "artist_url", "creator_url", "user_url"),
    "tags": ("tags", "tag", "keywords"),
    "description": ("description", "prompt", "caption", "captions", "text"),
    "album": ("album", "album_name", "album_title"),
    "genres": ("genres", "genre"),
    "year": ("year", "release_year"),
    "created": ("created", "created_at", "date_created"),
    "license_raw": ("license_raw", "license", "licence", "license_name", "licence_name"),
    "license_url_raw": tuple(
        "license_url_raw license_url licence_url license_uri licence_uri"
        " license_link licence_link".split()
    ),
    "gen_ai_preference": ("gen_ai_preference", "generative_ai_preference"),
    "is_remix": ("is_remix", "remix"),
    "parents": ("parents",),
    "category_code": ("category_code", "bst_category"),
    "duration_s": ("duration_s", "duration", "seconds", "length_seconds"),
}
"""For each meaning its names, the one that is taken first at the beginning."""

KNOWN = frozenset(name for names in NAMES.values() for name in names)


def plain(column: str) -> str:
    """A column's name in lower case, with underscores for spaces, hyphens and dots."""
    name = column.strip().casefold()
    return "_".join(name.replace("-", " ").replace("_", " ").split())


def find_column(columns: Iterable[str], meaning: str) -> str | None:
    """The column of this meaning, as the table writes its name; None if it has none."""
    return next(iter(find_columns(columns, meaning)), None)


def find_columns(columns: Iterable[str], meaning: str) -> list[str]:
    """All columns of this meaning, the one to take first."""
    written: dict[str, str] = {}
    for column in columns:
        written.setdefault(plain(column), column)
    names = NAMES.get(meaning, (meaning,))
    return [written[name] for name in names if name in written]


def choose_column(columns: Collection[str], wanted: str, meaning: str) -> str | None:
    """The column that was asked for, in any case; where `wanted` is the usual name, any name of that meaning."""
    if wanted in columns:
        return wanted
    if wanted == meaning:
        return find_column(columns, meaning)
    return next((column for column in columns if plain(column) == plain(wanted)), None)

"""Recordings from Freesound's API: everything that a search finds, or the sounds of a list of ids.

150 sounds come with one request, also for a list of ids, which a filter can name. `fields` is always given, so that a
page of a search holds all that is needed. What the store has already is not asked for again.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from auralith.curation.sources.freesound_pack import SOURCE, author_link, sound_url
from auralith.curation.sources.records import (
    BadRow,
    Record,
    field,
    flag,
    identity,
    seconds,
    words,
)
from auralith.curation.sources.source import SourceRow
from auralith.curation.store import Store
from auralith.errors import InvalidRequest, ResourceError

PAGE_SIZE = 150
"""The most that the API allows."""
PAGES_PER_SLICE = 10
FIELDS = (
    "id,url,name,tags,description,category,subcategory,category_code,geotag,created,license,"
    "gen_ai_preference,type,channels,filesize,bitrate,bitdepth,duration,samplerate,username,md5,"
    "is_remix,was_remixed,is_explicit,pack"
)


@runtime_checkable
class Api(Protocol):
    """What `FreesoundClient` does."""

    def get(self, path: str, params: dict[str, str]) -> Any: ...


class FreesoundSearch:
    """All sounds that a query and a Solr filter find, oldest first; both empty: all of Freesound."""

    name = SOURCE
    slice_rows = PAGE_SIZE * PAGES_PER_SLICE

    def __init__(self, api: Api, store: Store, query: str = "", filter: str = "") -> None:
        self._api, self._query, self._filter = api, query, filter
        self.batch = _batch("freesound-search", query, filter)
        self._done = _Done(store, self.batch)
        self.start = self._done.in_batch

    def rows(self) -> Iterator[SourceRow]:
        """New sounds page by page, from one page before the last finished one: deleted sounds move pages up."""
        page = max(1, self.start // PAGE_SIZE)
        while True:
            params = _search_params(self._query, self._filter, page)
            answer = self._api.get("search/", params | {"sort": "created_asc"})
            found = _results(answer)
            yield from self._done.new_rows(found, f"search page {page}")
            if not found or not answer.get("next"):
                return
            page += 1


class FreesoundSounds:
    """The sounds of a list of ids; one that Freesound doesn't have becomes a rejected row, `not_found`."""

    name = SOURCE
    slice_rows = PAGE_SIZE * PAGES_PER_SLICE

    def __init__(self, api: Api, store: Store, ids: Sequence[str]) -> None:
        """Raises `InvalidRequest` for an id that isn't a whole number."""
        if bad := [id for id in ids if not (id.isascii() and id.isdigit())]:
            raise InvalidRequest(f"'{bad[0]}' is no Freesound id; ids are whole numbers")
        self._ids = list(dict.fromkeys(str(int(id)) for id in ids))
        self._api = api
        self.batch = _batch("freesound-ids", *self._ids)
        self._done = _Done(store, self.batch)
        self.start = self._done.in_batch

    def rows(self) -> Iterator[SourceRow]:
        """A row for each id that isn't finished."""
        todo = [id for id in self._ids if f"{SOURCE}:{id}" not in self._done.ids]
        for start in range(0, len(todo), PAGE_SIZE):
            wanted = todo[start : start + PAGE_SIZE]
            params = _search_params("", f"id:({' OR '.join(wanted)})", 1)
            found = _results(self._api.get("search/", params))
            yield from self._done.new_rows(found, "search by id")
            for id in wanted:
                if f"{SOURCE}:{id}" not in self._done.ids:
                    yield self._single(id)

    def _single(self, id: str) -> SourceRow:
        """A sound that the search doesn't know; some aren't indexed."""
        place = f"sounds/{id}/"
        found = self._api.get(place, {"fields": FIELDS})
        rows = list(self._done.new_rows([found], place)) if found else []
        missing = SourceRow(place, 1, {"id": id}, None, "not_found", f"{SOURCE}:{id}")
        return rows[0] if rows else missing


class _Done:
    """Ids that needn't be asked for: those in the store, those rejected in this batch, those of this run."""

    def __init__(self, store: Store, batch: str) -> None:
        self.ids: set[str] = set()
        self.in_batch = 0
        for name in ("recordings", "rejected"):
            table = store.read(name, ["rec_id", "ingest_batch"])
            pairs = zip(*(table.column(c).to_pylist() for c in table.column_names), strict=True)
            for rec_id, ingest_batch in pairs:
                self.in_batch += ingest_batch == batch
                if rec_id and (name == "recordings" or ingest_batch == batch):
                    self.ids.add(rec_id)

    def new_rows(self, found: list[Any], place: str) -> Iterator[SourceRow]:
        """Rows of the sounds that aren't done, which then are."""
        for number, sound in enumerate(found, 1):
            try:
                record = sound_record(sound)
            except BadRow as bad:
                yield SourceRow(place, number, sound, None, bad.reason_code)
                continue
            if record["rec_id"] not in self.ids:
                self.ids.add(record["rec_id"])
                yield SourceRow(place, number, sound, record)


def sound_record(sound: object) -> Record:
    """A recording of a sound as the API describes it; raises `BadRow`."""
    if not isinstance(sound, dict):
        raise BadRow("row_unreadable")
    record = identity(SOURCE, sound.get("id"))
    author, license = field(sound, "username"), field(sound, "license")
    return record | {
        "url": field(sound, "url") or sound_url(author, record["source_id"]),
        "title": field(sound, "name"),
        "author": author,
        "author_url": author_link(author),
        "tags": words(sound.get("tags")),
        "description": field(sound, "description"),
        "created": field(sound, "created"),
        "license_raw": license,
        "license_url_raw": license if license and license.startswith("http") else None,
        "gen_ai_preference": field(sound, "gen_ai_preference"),
        "category_code": field(sound, "category_code"),
        "is_remix": flag(sound.get("is_remix")),
        "duration_s": seconds(sound.get("duration")),
    }


def _search_params(query: str, filter: str, page: int) -> dict[str, str]:
    params = {"query": query, "fields": FIELDS, "page": str(page), "page_size": str(PAGE_SIZE)}
    return params | {"filter": filter} if filter else params


def _results(answer: object) -> list[Any]:
    """The sounds of a page; none after the last page, which is a 404."""
    if answer is None:
        return []
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise ResourceError("Freesound's answer has no results; its API may have changed")
    return results


def _batch(kind: str, *parts: str) -> str:
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"

"""Recordings from Freesound: its data packs, a search of its API v2, and the sounds of a list of ids.

A data pack has one CSV of metadata per 1,000 ids, with sounds at `<id // 1000>/<id>.<type>`. License and preference are
taken from each row, since the filter behind a variant's name has been wrong. The pack's license is a name without version.

The API gives 150 sounds per request, also for a list of ids, which a filter can name; `fields` is always given, so that a
page of a search holds all that is needed. Sounds that the store has are not requested again. The client keeps within the
published limits and retries errors. The key travels in a header only, redirects aren't followed, and no text of the server
is repeated without removing the key. Responses with an ETag are kept, so that asking again costs no transfer.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from auralith.curation.http import CachedResponse, Clock, RateLimit, SystemClock, page_link
from auralith.curation.sources.records import (
    FREESOUND,
    BadRow,
    Record,
    SourceRow,
    flag,
    identity,
    named_path,
    seconds,
    text_of,
    words,
)
from auralith.curation.sources.tables import TableSource, batch_of
from auralith.curation.store import Store
from auralith.errors import InvalidRequest, ResourceError
from auralith.extras import require
from auralith.files import make_folder

SITE = "https://freesound.org"
_PACK_COLUMNS = ("filepath", "id", "username", "title", "license", "generative_ai_preference")
PAGE_SIZE = 150
"""Sounds per page, the maximum of the API."""
PAGES_PER_SLICE = 10
FIELDS = (
    "id,url,name,tags,description,category,subcategory,category_code,geotag,created,license,"
    "gen_ai_preference,type,channels,filesize,bitrate,bitdepth,duration,samplerate,username,md5,"
    "is_remix,was_remixed,is_explicit,pack"
)
BASE_URL = "https://freesound.org/apiv2"
LIMITS = {
    1: ((60, 60.0), (2_000, 86_400.0)),
    2: ((300, 60.0), (5_000, 86_400.0)),
    3: ((300, 60.0), (15_000, 86_400.0)),
}
"""Requests and seconds of both windows, by the level of the key."""
_ATTEMPTS = 5
_TIMEOUT_S = 30.0
_NO_RETRY_AFTER_S = 60.0
"""Wait after a 429 without Retry-After: the shorter window."""


def data_pack(path: Path, root: Path | None = None) -> TableSource:
    """Return a source of a metadata file (.csv, .json or .jsonl), or of all those in the folder of a pack.

    Raises:
        InvalidRequest: the folder holds no metadata.
    """
    files = sorted(path.glob("**/metadata_*.csv")) if path.is_dir() else [path]
    if not files:
        raise InvalidRequest(f"{path} holds no metadata_*.csv; give the folder of a data pack")

    def convert(cells: Mapping[str, Any]) -> Record:
        return pack_record(cells, root)

    return TableSource(batch_of("freesound-pack", files), FREESOUND, files, convert, _PACK_COLUMNS)


def pack_record(cells: Mapping[str, Any], root: Path | None) -> Record:
    """Return the recording of a row of a pack."""
    record = identity(FREESOUND, cells.get("id"))
    author = text_of(cells, "username")
    return record | {
        "path": named_path(cells.get("filepath"), root),
        "url": sound_url(author, record["source_id"]),
        "title": text_of(cells, "title"),
        "author": author,
        "author_url": author_link(author),
        "tags": words(cells.get("tags")),
        "description": text_of(cells, "description"),
        "created": text_of(cells, "created"),
        "license_raw": text_of(cells, "license"),
        "gen_ai_preference": text_of(cells, "generative_ai_preference"),
        "category_code": text_of(cells, "bst_category"),
        "duration_s": seconds(cells.get("duration")),
    }


def author_link(author: str | None) -> str | None:
    """Return the page of a user; None without a user name."""
    return page_link(SITE, "people", author) if author else None


def sound_url(author: str | None, id: str) -> str:
    """Return the page of a sound; without its author, the address that leads there."""
    page = page_link(SITE, "people", author, "sounds", id) if author else None
    return page or f"{SITE}/s/{id}/"


@runtime_checkable
class Api(Protocol):
    """Interface of `FreesoundClient`."""

    def get(self, path: str, params: dict[str, str]) -> Any: ...


class FreesoundSearch:
    """All sounds that a query and a Solr filter find, oldest first; all of Freesound if both are empty."""

    name = FREESOUND
    slice_rows = PAGE_SIZE * PAGES_PER_SLICE

    def __init__(self, api: Api, store: Store, query: str = "", filter: str = "") -> None:
        self._api, self._query, self._filter = api, query, filter
        self.batch = _batch("freesound-search", query, filter)
        self._done = _Done(store, self.batch)
        self.start = self._done.in_batch

    def rows(self) -> Iterator[SourceRow]:
        """Yield new sounds page by page, from one before the last finished page, since deleted sounds move pages up."""
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
    """The sounds of a list of ids; an unknown id becomes a rejected row, `not_found`."""

    name = FREESOUND
    slice_rows = PAGE_SIZE * PAGES_PER_SLICE

    def __init__(self, api: Api, store: Store, ids: Sequence[str]) -> None:
        """Raise `InvalidRequest` for an id that isn't a whole number."""
        if bad := [id for id in ids if not (id.isascii() and id.isdigit())]:
            raise InvalidRequest(f"'{bad[0]}' is not a Freesound id; ids are whole numbers")
        self._ids = list(dict.fromkeys(str(int(id)) for id in ids))
        self._api = api
        self.batch = _batch("freesound-ids", *self._ids)
        self._done = _Done(store, self.batch)
        self.start = self._done.in_batch

    def rows(self) -> Iterator[SourceRow]:
        """Yield a row for each id that isn't finished."""
        todo = [id for id in self._ids if f"{FREESOUND}:{id}" not in self._done.ids]
        for start in range(0, len(todo), PAGE_SIZE):
            wanted = todo[start : start + PAGE_SIZE]
            params = _search_params("", f"id:({' OR '.join(wanted)})", 1)
            found = _results(self._api.get("search/", params))
            yield from self._done.new_rows(found, "search by id")
            for id in wanted:
                if f"{FREESOUND}:{id}" not in self._done.ids:
                    yield self._single(id)

    def _single(self, id: str) -> SourceRow:
        """Return the row of a sound that the search doesn't know; some aren't indexed."""
        place = f"sounds/{id}/"
        found = self._api.get(place, {"fields": FIELDS})
        rows = list(self._done.new_rows([found], place)) if found else []
        missing = SourceRow(place, 1, {"id": id}, None, "not_found", f"{FREESOUND}:{id}")
        return rows[0] if rows else missing


class _Done:
    """Ids that needn't be requested: those in the store, rejected in this batch, or of this run."""

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
        """Yield rows of the sounds that aren't done, and mark them as done."""
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
    """Return the recording of a sound in the API's JSON. Raises `BadRow`."""
    if not isinstance(sound, dict):
        raise BadRow("row_unreadable")
    record = identity(FREESOUND, sound.get("id"))
    author, license = text_of(sound, "username"), text_of(sound, "license")
    return record | {
        "url": text_of(sound, "url") or sound_url(author, record["source_id"]),
        "title": text_of(sound, "name"),
        "author": author,
        "author_url": author_link(author),
        "tags": words(sound.get("tags")),
        "description": text_of(sound, "description"),
        "created": text_of(sound, "created"),
        "license_raw": license,
        "license_url_raw": license if license and license.startswith("http") else None,
        "gen_ai_preference": text_of(sound, "gen_ai_preference"),
        "category_code": text_of(sound, "category_code"),
        "is_remix": flag(sound.get("is_remix")),
        "duration_s": seconds(sound.get("duration")),
    }


def _search_params(query: str, filter: str, page: int) -> dict[str, str]:
    params = {"query": query, "fields": FIELDS, "page": str(page), "page_size": str(PAGE_SIZE)}
    return params | {"filter": filter} if filter else params


def _results(answer: object) -> list[Any]:
    """Return the sounds of a page; none for a 404, which follows the last page."""
    if answer is None:
        return []
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise ResourceError("Freesound's answer has no results; its API may have changed")
    return results


def _batch(kind: str, *parts: str) -> str:
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


class _Failure(NamedTuple):
    """A failure that may pass."""

    problem: str
    wait_s: float | None = None
    """Wait that the server asks for; None for one that grows with each attempt."""


class FreesoundClient:
    """A client for GET requests with a key. `folder` keeps responses and the count of requests between runs."""

    def __init__(
        self,
        key: str,
        folder: Path,
        *,
        level: Literal[1, 2, 3] = 1,
        base_url: str = BASE_URL,
        clock: Clock | None = None,
        max_wait_s: float = 3_600.0,
    ) -> None:
        """Raise `InvalidRequest` for a malformed key, `ResourceError` if the folder can't be written."""
        if not (key.isascii() and key.isalnum()):
            raise InvalidRequest("the Freesound key is malformed: letters and digits are expected")
        httpx = require("httpx", "curate")
        make_folder(folder)
        self.folder, self._key, self._base_url = folder, key, base_url.rstrip("/")
        self._clock = clock or SystemClock()
        self._limit = RateLimit(LIMITS[level], self._clock, folder / "requests.json", max_wait_s)
        self._http = httpx.Client(
            headers={"Authorization": f"Token {key}"}, timeout=_TIMEOUT_S, follow_redirects=False
        )

    def __repr__(self) -> str:
        return f"FreesoundClient({self._base_url})"

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        """Return the JSON of a resource; None if it doesn't exist (404).

        Raises:
            InvalidRequest: the key or the request is refused.
            ResourceError: all attempts failed, or the limit requires too long a wait.
        """
        url = f"{self._base_url}/{path}"
        cached = CachedResponse(self.folder, f"{url}?{sorted(params.items())}")
        problem = ""
        for attempt in range(_ATTEMPTS):
            found = self._attempt(url, params, cached)
            if not isinstance(found, _Failure):
                return found
            problem = found.problem
            if attempt < _ATTEMPTS - 1:
                self._limit.wait(2.0**attempt if found.wait_s is None else found.wait_s)
        raise ResourceError(
            f"{self._base_url} fails ({problem}, {_ATTEMPTS} attempts);"
            " the same command continues from here later"
        )

    def _attempt(self, url: str, params: Mapping[str, str], cached: CachedResponse) -> Any:
        """Return the JSON, None for 404, or a `_Failure`."""
        response = self._send(url, params, cached)
        if isinstance(response, _Failure):
            return response
        status = response.status_code
        if status == 404:
            return None
        if status == 304 and cached.etag:
            return cached.body
        if status == 429:
            wait_s = self._retry_after(response)
            return _Failure("HTTP 429", _NO_RETRY_AFTER_S if wait_s is None else wait_s)
        if status >= 500:
            return _Failure(f"HTTP {status}", self._retry_after(response))
        self._require_success(response)
        try:
            body = response.json()
        except ValueError:
            return _Failure("an answer that isn't JSON")
        if self._key not in response.text:  # a response that echoes the key is not kept on disk
            cached.keep(response.headers.get("ETag"), body)
        return body

    def _send(self, url: str, params: Mapping[str, str], cached: CachedResponse) -> Any:
        """Return the response, or a `_Failure`."""
        httpx = require("httpx", "curate")
        self._limit.acquire()
        headers = {"If-None-Match": cached.etag} if cached.etag else {}
        try:
            return self._http.get(url, params=dict(params), headers=headers)
        except httpx.TransportError as error:
            return _Failure(type(error).__name__)

    def _retry_after(self, response: Any) -> float | None:
        """Return the seconds that the server asks to wait, from a number or a date; None without either."""
        written = response.headers.get("Retry-After", "").strip()
        if written.isdigit():
            return float(written)
        try:
            until = parsedate_to_datetime(written).timestamp()
        except ValueError:
            return None
        return max(0.0, until - self._clock.now())

    def _require_success(self, response: Any) -> None:
        status = response.status_code
        if status in (401, 403):
            raise InvalidRequest(
                f"{self._base_url} refused the key (HTTP {status}); check AURALITH_FREESOUND_KEY"
            )
        if status >= 300:
            detail = " ".join(response.text.split()).replace(self._key, "…")[:200]
            raise InvalidRequest(
                f"{self._base_url} refused the request (HTTP {status}): {detail or 'no reason given'}"
            )

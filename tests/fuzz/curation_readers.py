"""The readers of what a curation takes from others, and of what it keeps: sources, review, manifest, index."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.reader import Reader, written

from auralith.curation import review, sources
from auralith.curation.guard import EvalSet, GuardSettings
from auralith.curation.http import CachedResponse, RateLimit, SystemClock
from auralith.curation.keys import NAME as STEPS
from auralith.curation.keys import evidence_of
from auralith.curation.metadata.catalogue import read_catalogue
from auralith.curation.publish.attribution.catalog import read_catalog
from auralith.curation.publish.attribution.site import SETTINGS, read_settings
from auralith.curation.publish.manifest import NAME as MANIFEST
from auralith.curation.publish.manifest import SCHEMA, check_review
from auralith.curation.review.chain import HEAD_NAME
from auralith.curation.settings import CurationSettings
from auralith.curation.sources.intake import ROOTS, remember_roots, root_of
from auralith.curation.stage import params_hash
from auralith.curation.steps import step_of, steps
from auralith.curation.store import EVIDENCE, RECORDINGS, Store
from auralith.curation.tagging.taggers import PIN_NAME, check_pin
from auralith.fingerprint.index import LandmarkIndex, build_index
from auralith.fingerprint.landmark import Landmarks
from auralith.fingerprint.search import search
from auralith.settings import load_settings
from tests.curation.test_review import ITEM, MATCH, keep, suspect

CURATION = CurationSettings(guard=GuardSettings((EvalSet("esc50"),)))
RECIPE = '[[sources]]\nkind = "fma"\npath = "a"\n[probe]\nmax_hours = 1.5\n'
RECORDING = {
    "rec_id": "fma:1",
    "source": "fma",
    "source_id": "1",
    "title": "Rain",
    "author": "Ann",
    "tags": ["x"],
    "license_spdx": "CC0-1.0",
    "duration_s": 1.5,
}
HASHES = np.arange(400, dtype=np.int64) * 7
SOUND = Landmarks(HASHES, np.arange(400), np.ones(400), 500, 12.0)


def _parquet(schema: pa.Schema) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        rows = [{name: RECORDING.get(name) for name in schema.names}] * 20
        pq.write_table(pa.Table.from_pylist(rows, schema), path)

    return make


def _store(table: str) -> Callable[[Path], object]:
    def read(path: Path) -> None:
        store = Store(path.parents[1])
        if table == "recordings":
            store.recordings(["rec_id", "title", "tags"]).to_pylist()
        store.read(table).to_pylist()

    return read


def _manifest(path: Path) -> None:
    _review(path)
    newest = review.newest_entry(path.parent)
    assert newest is not None
    schema = SCHEMA.with_metadata({"auralith.review": newest.text()})
    _parquet(schema)(path)


def _read_manifest(path: Path) -> None:
    check_review(path.parent)
    list(read_catalog(path.parent).by_id())


def _review(path: Path) -> None:
    folder = path.parent
    _parquet(RECORDINGS)(folder / "recordings/0.parquet")
    review.open_items(folder, [suspect(1), suspect(2, "match", stage="identify")])
    keep(folder, ITEM, "Ann")
    keep(folder, ITEM, "Bob")
    review.decide(folder, MATCH, "Ann", "remove", "commercial_recording", "a song")
    review.withdraw(folder, review.Selection(("fma:1",)), "asked for")


def _read_review(path: Path) -> None:
    folder = path.parent
    for case in review.cases(folder):
        review.view_item(folder, case.item.item_id)
    review.withdrawals(folder)


def _exported(path: Path) -> None:
    _review(path)
    review.export_items(path.parent, path, review.ExportOptions(settled=True))


def _read_exported(path: Path) -> None:
    review.import_decisions(path.parent, path)


def _index(path: Path) -> None:
    build_index([("one", SOUND)], path.parent)


def _search(path: Path) -> None:
    search(LandmarkIndex.open(path.parent), SOUND)


def _site(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"name": "Rain", "contact": "a@b.c", "page_entries": 50}))


def _roots(path: Path) -> None:
    remember_roots(path.parent, {"fma": path.parent})


def _steps(path: Path) -> None:
    tag, guard = (step_of(CURATION, name) for name in ("tag", "guard"))
    assert tag is not None and guard is not None
    found = replace(tag.settings, weights_sha256="a1" * 32)
    runs = {
        "tag": ["panns", "1", params_hash(found), {"weights_sha256": "a1" * 32}, {}],
        "guard": ["auralith", "a1", params_hash(guard.settings), {}, {"esc50": ""}],
    }
    names = ("provider", "provider_version", "params_hash", "resolved", "reads")
    plain = {name: [dict(zip(names, run, strict=True))] for name, run in runs.items()}
    path.write_text(json.dumps(plain))
    for name in runs:
        _parquet(EVIDENCE)(path.parent / name / "0.parquet")


def _read_steps(path: Path) -> None:
    for step in steps(CURATION):
        evidence_of(Store(path.parent), step, ["rec_id", "status"])


def _response(path: Path) -> None:
    CachedResponse(path.parent, REQUEST).keep('"e"', {"name": "Rain", "id": 7})


def _rows(source: Callable[[Path], sources.Source]) -> Callable[[Path], object]:
    return lambda path: list(source(path).rows())


def _table(*lines: str) -> Callable[[Path], object]:
    return written("".join(f"{line}\n" for line in lines))


def _folder(path: Path) -> None:
    path.with_name("a.wav").touch()
    path.write_text(json.dumps({"title": "Rain", "tags": ["x", "y"], "year": 2020, "bpm": 90}))


RAW_FMA = _table(
    "track_id,track_title,artist_name,license_title,license_url,tags,track_genres,track_date_created,track_duration",
    "1,Rain,Ann,CC0,http://a.b/c,\"['x', 'y']\",\"[{'genre_id': '1', 'genre_title': 'Pop'}]\",11/26/2008 01:48:12 AM,02:48",
)
TRACKS_FMA = _table(
    ",track,track,track,artist,track,track",
    ",title,license,genres,name,tags,date_recorded",
    "track_id,,,,,,",
    '2,Rain,CC0,"[21]",Ann,"[\'x\']",2008-11-26 00:00:00',
)
PACK = _table(
    "filepath,id,username,title,license,generative_ai_preference,tags,duration,created",
    'a.wav,7,Ann,Rain,http://a.b/c,,"x,y",1.5,2020-01-01T00:00:00',
)
STABILITY = _table(
    "id,url,title,author,license",
    "7,https://freesound.org/people/Ann/sounds/7/,Rain,Ann,CC0",
    "8,https://freemusicarchive.org/music/Ann/a/8/,Rain,Ann,CC0",
)
CATALOGUE = _table(
    "track_id,artists,album_name,track_name,duration_ms", "a,Ann,Rain,Rain,90000", 'b,"x;y",A,B,1'
)

REQUEST = "https://freesound.org/apiv2/sounds/7/"
RESPONSE = f"{hashlib.sha256(REQUEST.encode()).hexdigest()}.json.gz"

CURATION_READERS: Sequence[Reader] = (
    Reader("curation.toml", written(RECIPE), lambda path: load_settings(CurationSettings, path)),
    Reader("raw_tracks.csv", RAW_FMA, _rows(sources.fma_tracks)),
    Reader("tracks.csv", TRACKS_FMA, _rows(sources.fma_tracks)),
    Reader("metadata_pack.csv", PACK, _rows(sources.data_pack)),
    Reader("attribution.csv", STABILITY, _rows(sources.stability_list)),
    Reader("a.json", _folder, _rows(lambda path: sources.FolderSource(path.parent))),
    Reader("catalogue.csv", CATALOGUE, read_catalogue),
    Reader(
        "requests.json",
        written("[1.5, 2.5]"),
        lambda path: RateLimit([(1, 1.0)], SystemClock(), path).buckets[0].wait(3.0),
    ),
    Reader(RESPONSE, _response, lambda path: CachedResponse(path.parent, REQUEST)),
    Reader("evidence/0.parquet", _parquet(EVIDENCE), _store("evidence")),
    Reader("recordings/0.parquet", _parquet(RECORDINGS), _store("recordings")),
    Reader(MANIFEST, _manifest, _read_manifest),
    Reader(f"attribution/{SETTINGS}", _site, lambda path: read_settings(path.parent)),
    Reader(STEPS, _steps, _read_steps),
    Reader(ROOTS, _roots, lambda path: root_of(path.parent, "fma", "a.wav")),
    Reader(
        PIN_NAME,
        written(json.dumps({"panns": "a1" * 32})),
        lambda path: check_pin(path.parent, None, "a1" * 32, False),
    ),
    Reader("review.sqlite", _review, _read_review),
    Reader(HEAD_NAME, _review, _read_review),
    Reader("decisions.csv", _exported, _read_exported),
    Reader("tasks.json", _exported, _read_exported),
    *(
        Reader(f"index/{name}", _index, _search)
        for name in ("header.json", "references.npy", "frames.npy")  # offsets.npy has 32 MiB
    ),
)

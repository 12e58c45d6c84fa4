"""The training manifest: one row for each accepted recording, as Parquet that `auralith encode` and `finetune` read.

Paths start from the manifest's folder, since sounds of several sources lie in several folders: so the file reveals
nothing about the machine it was made on, and a tree with the sounds in it can be moved as a whole. `prompt` is null: a
prompt is made from the other fields at each use (`auralith.data.prompts`). Recordings without a sound file, which only a
curation without the probe accepts, are listed too, without a path; they can be attributed, but not trained on.

Duplicates share a split, which follows from the hash of an id alone. Recordings under Sampling+, whose whole copies
may not be sold, are a partition of their own.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from auralith.curation.duplicates import COLUMNS as DUPLICATE_COLUMNS
from auralith.curation.duplicates import FingerprintPair, find_duplicates, near_pairs
from auralith.curation.keys import last_evidence
from auralith.curation.licenses import SAMPLING_PLUS
from auralith.curation.outcomes import outcomes
from auralith.curation.publish.copies import licenses_of_copies
from auralith.curation.review import check_head, newest_entry
from auralith.curation.review.chain import parse_head
from auralith.curation.settings import CurationSettings
from auralith.curation.sources.intake import root_of, sound_roots
from auralith.curation.steps import step_of
from auralith.curation.store import RECORDINGS, Store, compute, opened_parquet, whole_table
from auralith.errors import InvalidRequest, shown
from auralith.files import whole_file

NAME = "manifest.parquet"
_REVIEW = b"auralith.review"
"""Key of the file's metadata for the newest entry of the review log, so that a log that is cut later is found."""
TRAIN, VALIDATION = "train", "validation"
MAIN, APART = "main", "sampling+"
_AS_INGESTED = (
    *("title", "author", "author_url", "tags", "description", "album", "genres", "year", "url"),
    "retrieved_at",
)
_LICENSE = ("license_version", "license_uri", "license_stated")
_PROBE = ("sha256", "pcm_sha256", "sample_rate_hz", "channels", "full_band", "codec", "status")
SCHEMA = pa.schema(
    [
        ("rec_id", pa.string()),
        ("path", pa.string()),  # from the manifest's folder; null without a sound
        ("prompt", pa.string()),  # null: made from the fields below
        RECORDINGS.field("title"),
        ("artist", pa.string()),  # the author of known music; null for other recordings
        *map(RECORDINGS.field, ("author", "author_url", "tags", "description", "album", "genres")),
        *map(RECORDINGS.field, ("year", "url", "source")),
        ("license_spdx", pa.string()),
        ("license_version", pa.string()),
        ("license_uri", pa.string()),
        (
            "license_stated",
            pa.string(),
        ),  # several licenses as stated, of which the others are one or all
        ("partition", pa.string()),  # "sampling+" or "main"
        ("sha256", pa.string()),  # of the sound file
        ("duration_s", pa.float64()),  # as decoded, else as the source states it
        ("sample_rate_hz", pa.int32()),
        ("channels", pa.int32()),
        ("dup_group", pa.string()),  # null if no other recording of the manifest is the same sound
        ("copies_under", pa.string()),  # licenses of equal sounds; null unless they differ
        ("high_fidelity", pa.bool_()),
        ("split", pa.string()),  # "train" or "validation"
        RECORDINGS.field("retrieved_at"),
    ]
)


def write_manifest(
    store: Store,
    settings: CurationSettings,
    found: pa.Table | None = None,
) -> Path:
    """Write `manifest.parquet` into the curation's folder, whole; one without rows if nothing is accepted.

    `found` is the result of `outcomes`, if the caller has it.

    Raises:
        ResourceError: it can't be written.
    """
    table = manifest(store, settings, found)
    if head := newest_entry(store.folder):
        table = table.replace_schema_metadata({_REVIEW: head.text().encode()})
    path = store.folder / NAME
    with whole_file(path) as file:
        parquet.write_table(table, file, compression="zstd")
    return path


def check_review(folder: Path) -> None:
    """Compare the review log of a curation with the entry that its manifest records.

    Raises:
        ResourceError: decisions that the manifest was made of were changed or are missing, or the manifest is damaged.
    """
    with _opened(folder) as file:
        text = (file.schema_arrow.metadata or {}).get(_REVIEW)
        head = None if text is None else parse_head(text)
    if head is not None:
        check_head(folder, head)


def read_manifest(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the manifest of a curation.

    Raises:
        InvalidRequest: it has not been written yet.
        ResourceError: it is damaged.
    """
    with _opened(folder) as file:
        return whole_table(file, columns)


@contextmanager
def _opened(folder: Path) -> Iterator[parquet.ParquetFile]:
    """Give the manifest's file, as `opened_parquet` does; raise `InvalidRequest` if it is missing."""
    path = folder / NAME
    if not path.is_file():
        raise InvalidRequest(f"{folder} has no {NAME}; auralith curate manifest writes it")
    with opened_parquet(path, "write it again") as file:
        yield file


def manifest(
    store: Store,
    settings: CurationSettings,
    found: pa.Table | None = None,
) -> pa.Table:
    """Return the accepted recordings, sorted by rec_id, with the columns of `SCHEMA`."""
    ends = outcomes(store, settings) if found is None else found
    accepted = ends.filter(compute.equal(ends["outcome"], "accepted")).combine_chunks()
    ids = accepted["rec_id"]
    recordings = store.recordings(["rec_id", "path", *_AS_INGESTED])
    recordings = recordings.filter(compute.is_in(recordings["rec_id"], value_set=ids))
    probed = last_evidence(store, step_of(settings, "probe"), _PROBE, ids)
    license = last_evidence(store, step_of(settings, "license"), _LICENSE, ids)
    seconds, source = accepted["seconds"], accepted["source"]
    groups = _duplicate_groups(
        ids, seconds, probed, near_pairs(store, step_of(settings, "fingerprint"))
    )
    disputed = licenses_of_copies(store, settings)
    columns = {
        **{name: recordings[name] for name in _AS_INGESTED},
        **{name: license[name] for name in _LICENSE},
        **{name: probed[name] for name in ("sha256", "sample_rate_hz", "channels")},
        "rec_id": ids,
        "path": _paths(recordings["path"], source, store, settings),
        "prompt": pa.nulls(len(ids)),
        "artist": _only(recordings["author"], _is_of(source, settings.known_music)),
        "source": source,
        "license_spdx": accepted["license_spdx"],
        "partition": compute.if_else(
            compute.equal(accepted["license_spdx"], SAMPLING_PLUS), APART, MAIN
        ),
        "duration_s": _only(seconds, compute.greater(seconds, 0)),
        "dup_group": groups,
        "copies_under": pa.array([disputed.get(id) for id in ids.to_pylist()], pa.string()),
        "high_fidelity": _high_fidelity(source, probed, settings),
        "split": _splits(compute.coalesce(groups, ids), settings.publish.validation_share),
    }
    return pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA)


def split_of(id: str, validation_share: float) -> str:
    """Return the split of a recording or a group of duplicates, the same in every run and on every machine."""
    number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")
    return VALIDATION if number < validation_share * 2**64 else TRAIN


def _paths(
    relative: pa.ChunkedArray, source: pa.ChunkedArray, store: Store, settings: CurationSettings
) -> pa.ChunkedArray:
    """Return paths from the manifest's folder. Links are resolved first, since `..` of a linked folder leads elsewhere."""
    roots = sound_roots(settings.sources)
    names = source.unique().to_pylist()
    starts = [
        _from(store.folder, roots.get(name) or _found_root(store, name, relative, source))
        for name in names
    ]
    place = compute.index_in(source, value_set=pa.array(names, pa.string()))
    start = pa.array(starts, pa.string()).take(place)
    return compute.binary_join_element_wise(start, relative.cast(pa.string()), "")


def _found_root(
    store: Store, name: str, relative: pa.ChunkedArray, source: pa.ChunkedArray
) -> Path:
    """Return the folder of the sounds of a source that the recipe does not name, among those that earlier steps kept.

    Raises:
        InvalidRequest: none of them has the first sound.
    """
    paths = relative.filter(compute.equal(source, name)).drop_null()
    if not len(paths):
        return store.folder
    first = paths[0].as_py()
    if root := root_of(store.folder, name, first):
        return root
    raise InvalidRequest(
        f"the sounds of {shown(name)} are in no folder that is known, such as {shown(first)}; give the"
        " recipe that names its sources with --recipe, or ingest them again with --root"
    )


def _from(folder: Path, root: Path) -> str:
    """Return the prefix of paths that start from `root`."""
    try:
        start = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
    except ValueError:  # another drive
        start = os.path.realpath(root)
    return "" if start == "." else f"{start.replace(os.sep, '/').rstrip('/')}/"


def _duplicate_groups(
    ids: pa.ChunkedArray,
    seconds: pa.ChunkedArray,
    probed: pa.Table,
    pairs: Sequence[FingerprintPair],
) -> pa.Array:
    """Return the group of each recording; only recordings that share a hash or are in a pair are compared."""
    columns = {"rec_id": ids, "duration_s": seconds}
    columns |= {name: probed[name] for name in DUPLICATE_COLUMNS if name not in columns}
    table = pa.table(columns)
    shared = compute.or_(_is_shared(table["sha256"]), _is_shared(table["pcm_sha256"]))
    paired = pa.array({id for pair in pairs for id in (pair.first, pair.second)}, pa.string())
    shared = compute.or_(shared, compute.is_in(ids, value_set=paired))
    group_of = find_duplicates(table.filter(shared), pairs).group_of
    return pa.array([group_of.get(id) for id in ids.to_pylist()], pa.string())


def _is_shared(hashes: pa.ChunkedArray) -> pa.ChunkedArray:
    hashes = hashes.cast(pa.string())
    counts = compute.value_counts(hashes.drop_null())
    values = counts.field("values").filter(compute.greater(counts.field("counts"), 1))
    return compute.is_in(hashes, value_set=values)


def _high_fidelity(
    source: pa.ChunkedArray, probed: pa.Table, settings: CurationSettings
) -> pa.ChunkedArray:
    rule = settings.publish.high_fidelity
    rates = pa.array(rule.sample_rates_hz, pa.int32())
    is_wide = compute.equal(probed["channels"].cast(pa.int32()), rule.channels)
    is_fast = compute.is_in(probed["sample_rate_hz"].cast(pa.int32()), value_set=rates)
    measured = compute.and_(compute.and_(is_wide, is_fast), probed["full_band"].cast(pa.bool_()))
    return compute.or_(compute.fill_null(measured, False), _is_of(source, settings.known_music))


def _splits(ids: pa.ChunkedArray, validation_share: float) -> pa.Array:
    return pa.array([split_of(id, validation_share) for id in ids.to_pylist()], pa.string())


def _is_of(source: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    return compute.is_in(source, value_set=pa.array(names, pa.string()))


def _only(values: pa.ChunkedArray, mask: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values, null where the mask is false."""
    return compute.if_else(mask, values, None)

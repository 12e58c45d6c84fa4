"""Equal sounds under different licenses: of two people who state different terms for one file, one may be wrong.

Accepted recordings are compared by the hashes of the probe. Those that the license step refused were never decoded: of
them only files of the same size as an accepted one are read, so that a grant is also held against a refusal.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from auralith.curation.keys import evidence_of
from auralith.curation.settings import CurationSettings
from auralith.curation.sources.intake import remembered_roots
from auralith.curation.steps import step_of
from auralith.curation.store import Store, compute
from auralith.files import file_hash

UNREAD = "unknown license"


def licenses_of_copies(store: Store, settings: CurationSettings) -> Mapping[str, str]:
    """Return, for each probed recording with equal ones under other licenses, all of their licenses, separated by commas.

    Equal are files of the same bytes, and sounds of the same samples.
    """
    probed = evidence_of(store, step_of(settings, "probe"), ("rec_id", "sha256", "pcm_sha256"))
    judged = evidence_of(
        store, step_of(settings, "license"), ("rec_id", "license_spdx", "verdict")
    ).to_pylist()
    license_of = {row["rec_id"]: row["license_spdx"] or UNREAD for row in judged}
    refused = {row["rec_id"] for row in judged if row["verdict"] == "refuse"}
    held: dict[str, set[str]] = defaultdict(set)
    rows = {row["rec_id"]: row for row in probed.to_pylist()}.values()  # a retry adds another row
    for row in rows:
        for name in ("sha256", "pcm_sha256"):
            if row[name]:
                held[row[name]].add(license_of.get(row["rec_id"], UNREAD))
    for digest, rec_id in _refused_copies(store, {row["rec_id"] for row in rows}, refused):
        if digest in held:
            held[digest].add(license_of[rec_id])
    found: dict[str, str] = {}
    for row in rows:
        licenses = set[str]().union(*(held.get(row[n] or "", ()) for n in ("sha256", "pcm_sha256")))
        if len(licenses) > 1:
            found[row["rec_id"]] = ", ".join(sorted(licenses))
    return found


def _refused_copies(
    store: Store, accepted: set[str], refused: set[str]
) -> Iterator[tuple[str, str]]:
    """Yield the SHA-256 and the id of each refused file that is as large as an accepted one."""
    table = store.recordings(["rec_id", "source", "path"])
    wanted = pa.array(accepted | refused, pa.string())
    rows = table.filter(compute.is_in(table["rec_id"].cast(pa.string()), value_set=wanted))
    roots = remembered_roots(store.folder)
    files: dict[str, tuple[int, Path]] = {}
    for row in rows.to_pylist() if refused else ():
        if row["path"]:
            places = [store.folder / root for root in (*roots.get(row["source"], ()), ".")]
            with suppress(StopIteration):
                files[row["rec_id"]] = next(_sized(place / row["path"] for place in places))
    known = {files[id][0] for id in accepted if id in files}
    for id in sorted(refused & files.keys()):
        size, path = files[id]
        if size in known:
            with suppress(OSError):
                yield file_hash(path), id


def _sized(paths: Iterable[Path]) -> Iterator[tuple[int, Path]]:
    """Yield the size and path of those files that are there."""
    for path in paths:
        with suppress(OSError, ValueError):
            yield path.stat().st_size, path

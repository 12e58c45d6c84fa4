"""The data set in Croissant 1.1 (JSON-LD): columns of the manifest, files, and how the data were collected.

Files are named relative to the Croissant file, with their SHA-256; the record set `recordings` has one field for each
column of the manifest, keyed by `rec_id`. Everything is plain JSON, so no title or description can break out of it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from auralith.curation.license_ids import OWN_IDS, SAMPLING_PLUS, SAMPLING_PLUS_DEED
from auralith.curation.publish.manifest import NAME as MANIFEST
from auralith.curation.publish.manifest import SCHEMA, read_manifest
from auralith.curation.settings import PublishSettings
from auralith.curation.store import Store
from auralith.files import file_hash, whole_file

NAME = "croissant.json"
_FORMATS = {
    ".parquet": "application/x-parquet",
    ".csv": "text/csv",
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
}
_PUBLISHED = (MANIFEST, "funnel.json", "attribution/*.csv", "attribution/*.jsonl")
"""Files of a curation that belong to the data set."""
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        term: f"cr:{term}"
        for term in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
            *("field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
            *("subField", "transform"),
        )
    },
}
_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
_ABOUT_COLUMNS = {
    "rec_id": "Source and the source's own id, as source:id.",
    "path": "Sound file, from the manifest's folder; null where no sound is at hand.",
    "prompt": "Null: a prompt is made from title, tags, description and the like at each use.",
    "artist": "The author, for sources that are all music.",
    "author": "Whom to credit.",
    "license_spdx": "SPDX id, or a LicenseRef where SPDX has none.",
    "license_uri": "The license's deed; null where the source names no version.",
    "license_stated": "Several licenses as an SPDX expression, where the source states them: that of license_spdx was"
    " chosen, or is the strictest of those that all apply.",
    "partition": "sampling+ for recordings whose whole copies may not be sold, main for the others.",
    "sha256": "Of the sound file.",
    "duration_s": "Seconds, as decoded, else as the source states them.",
    "dup_group": "Shared by recordings that are the same sound.",
    "copies_under": "Licenses under which equal sounds were found, where they differ; null otherwise.",
    "high_fidelity": "Known music, or stereo at 48 kHz with energy in high frequencies.",
    "split": "train or validation, from a hash of the id.",
}
_RAI = {
    "dataCollection": "Recordings and their metadata were taken from the sources as published, and kept only if their"
    " license, their uploader's stated preference, and every check of the curation allow it.",
    "dataCollectionType": ["Secondary Data Analysis"],
    "dataAnnotationProtocol": "Titles, tags, descriptions and genres are the uploaders' own. What a check"
    " suspects to be commercial music goes to two people, who decide independently, and to a third if they differ.",
    "personalSensitiveInformation": "Names of authors, needed for attribution; recordings may hold voices of people.",
    "dataBiases": "What the sources' uploaders chose to record and publish, in the languages that they write in; no"
    " balance of places, genres or people was sought.",
    "dataLimitations": "Licenses are as stated by uploaders. Music not in any reference list is not recognized. Metadata"
    " is not corrected.",
    "dataUseCases": "Training models that make sound from text.",
}


def write_croissant(store: Store, options: PublishSettings) -> Path:
    """Write `croissant.json` into the curation's folder.

    Raises:
        InvalidRequest: the manifest has not been written yet.
        ResourceError: a file can't be read or written.
    """
    path = store.folder / NAME
    text = json.dumps(croissant(store.folder, options), indent=2, ensure_ascii=False)
    with whole_file(path) as file:
        file.write(text.encode() + b"\n")
    return path


def croissant(folder: Path, options: PublishSettings) -> dict[str, Any]:
    """Return the JSON-LD of the data set in a curation's folder.

    Raises:
        InvalidRequest: the manifest has not been written yet.
    """
    table = read_manifest(folder, ["license_spdx", "source"])
    files = [_file_object(folder, path) for path in published_files(folder)]
    sources = sorted(table["source"].unique().to_pylist())
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "dct:conformsTo": _CONFORMS_TO,
        "name": options.name,
        "description": options.description or _description(table.num_rows, sources),
        "license": license_links(table["license_spdx"].unique().to_pylist()),
        "url": options.url or f"urn:sha256:{files[0]['sha256']}",
        "creator": {"@type": "sc:Organization", "name": options.creator or "not stated"},
        "datePublished": options.date_published or datetime.now(UTC).date().isoformat(),
        "version": options.version,
        "keywords": ["audio", "sound effects", "music", "text-to-audio", *sources],
        "citeAs": f"{options.name}, version {options.version}",
        "isLiveDataset": False,
        "inLanguage": "en",
        **({"publisher": _organization(options)} if options.creator else {}),
        **{f"rai:{name}": text for name, text in _RAI.items()},
        "rai:dataReleaseMaintenancePlan": _maintenance(options),
        "distribution": files,
        "recordSet": [_record_set()],
    }


def published_files(folder: Path) -> list[Path]:
    """Return the files of a curation that belong to the data set, the manifest first."""
    return [path for pattern in _PUBLISHED for path in sorted(folder.glob(pattern))]


def license_links(ids: list[str | None]) -> list[str]:
    """Return a link for each license, or its id if no page has its text."""
    return [_license_link(id) for id in sorted(id for id in ids if id)]


def _license_link(id: str) -> str:
    if id == SAMPLING_PLUS:
        return SAMPLING_PLUS_DEED
    return id if id in OWN_IDS else f"https://spdx.org/licenses/{id}.html"


def _description(count: int, sources: list[str]) -> str:
    return f"{count:,} recordings from {', '.join(sources) or 'no source'}, each with its license and its author."


def _maintenance(options: PublishSettings) -> str:
    whom = options.contact or "the publisher; no address is stated"
    return f"Recordings are taken out on request, in the next version. Contact: {whom}"


def _organization(options: PublishSettings) -> Mapping[str, str]:
    return {"@type": "sc:Organization", "name": options.creator}


def _file_object(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    digest = file_hash(path)
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": path.name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _FORMATS[path.suffix],
        "sha256": digest,
    }


def _record_set() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "recordings",
        "name": "recordings",
        "description": "One record for each recording of the training set.",
        "key": {"@id": "recordings/rec_id"},
        "field": [_field(name, SCHEMA.field(name).type) for name in SCHEMA.names],
    }


def _field(name: str, kind: pa.DataType) -> dict[str, Any]:
    is_list = pa.types.is_list(kind)
    about = {"description": _ABOUT_COLUMNS[name]} if name in _ABOUT_COLUMNS else {}
    return {
        "@type": "cr:Field",
        "@id": f"recordings/{name}",
        "name": name,
        **about,
        "dataType": _data_type(kind.value_type if is_list else kind),
        **({"isArray": True, "arrayShape": "-1"} if is_list else {}),
        "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": name}},
    }


def _data_type(kind: pa.DataType) -> str:
    names = {pa.bool_(): "sc:Boolean", pa.int32(): "sc:Integer", pa.float64(): "sc:Float"}
    return names.get(kind, "sc:Text")

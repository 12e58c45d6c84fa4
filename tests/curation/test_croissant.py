"""Croissant 1.1, as mlcroissant reads it, without a network."""

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from auralith.curation.licenses import SAMPLING_PLUS, UNVERSIONED
from auralith.curation.publish.croissant import croissant, license_links, write_croissant
from auralith.curation.publish.manifest import SCHEMA, write_manifest
from auralith.curation.settings import CurationSettings, PublishSettings
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from tests.curation.test_manifest import curation

NASTY = '</script><b>"\'\\\n---\n{"@id": "x"}\u2028 café 🎧'
ROWS = [
    {"rec_id": "fma:1", "title": NASTY, "author": NASTY, "genres": ["Rock"], "year": 1999},
    {"rec_id": "freesound:2", "tags": ["a", NASTY], "license_spdx": "CC-BY-4.0"},
    {"rec_id": "freesound:3", "license_spdx": SAMPLING_PLUS, "duration_s": None},
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store, settings = curation(tmp_path, ROWS, probed=None)
    write_manifest(store, settings)
    return store


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def load(path: Path) -> Any:
    mlcroissant = pytest.importorskip("mlcroissant")
    return mlcroissant.Dataset(jsonld=path)


@pytest.mark.usefixtures("offline")
def test_mlcroissant_finds_no_error_and_no_warning(store: Store) -> None:
    dataset = load(write_croissant(store, PublishSettings(name=NASTY, creator=NASTY)))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    assert dataset.metadata.ctx.is_v1_1()
    assert dataset.metadata.name in (NASTY, {"en": NASTY})
    assert dataset.metadata.creators[0].name in (NASTY, {"en": NASTY})


@pytest.mark.usefixtures("offline")
def test_its_records_are_the_rows_of_the_manifest(store: Store) -> None:
    dataset = load(write_croissant(store, PublishSettings()))
    found = list(dataset.records("recordings"))
    assert [row["recordings/rec_id"] for row in found] == [
        b"fma:1",
        b"freesound:2",
        b"freesound:3",
    ]
    assert found[0]["recordings/title"].decode() == NASTY
    assert {name.removeprefix("recordings/") for name in found[0]} == set(SCHEMA.names)


def test_it_says_what_1_1_requires(store: Store) -> None:
    document = json.loads(write_croissant(store, PublishSettings()).read_text(encoding="utf-8"))
    assert document["@type"] == "sc:Dataset"
    assert document["dct:conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]
    required = ("name", "description", "license", "url", "creator", "datePublished", "distribution")
    assert all(document[name] for name in required)
    assert document["license"] == [
        "https://spdx.org/licenses/CC-BY-4.0.html",
        "https://spdx.org/licenses/CC0-1.0.html",
        "https://creativecommons.org/licenses/sampling+/1.0/",
    ]
    assert document["url"].startswith("urn:sha256:")
    rai = ("dataCollection", "dataCollectionType", "dataAnnotationProtocol", "dataBiases")
    rai += ("personalSensitiveInformation", "dataLimitations", "dataUseCases")
    assert all(document[f"rai:{name}"] for name in (*rai, "dataReleaseMaintenancePlan"))
    (records,) = document["recordSet"]
    assert [field["name"] for field in records["field"]] == SCHEMA.names
    assert records["key"] == {"@id": "recordings/rec_id"}


def test_every_file_has_its_hash_and_lies_beside_it(store: Store) -> None:
    (store.folder / "attribution").mkdir()
    (store.folder / "attribution" / "fma.csv").write_text("id\n1\n")
    document = croissant(store.folder, PublishSettings())
    names = [file["contentUrl"] for file in document["distribution"]]
    assert names == ["manifest.parquet", "attribution/fma.csv"]
    for file in document["distribution"]:
        content = (store.folder / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["contentSize"] == f"{len(content)} B"


def test_what_is_stated_is_told(store: Store) -> None:
    options = PublishSettings(
        name="Ours",
        description="D",
        url="https://e.org",
        creator="We",
        contact="us@e.org",
        date_published="2026-03-31",
        version="2.1.0",
    )
    document = croissant(store.folder, options)
    assert (document["name"], document["description"]) == ("Ours", "D")
    assert (document["url"], document["datePublished"]) == ("https://e.org", "2026-03-31")
    assert document["version"] == "2.1.0" and document["publisher"]["name"] == "We"
    assert "us@e.org" in document["rai:dataReleaseMaintenancePlan"]


def test_a_license_without_a_text_is_named_by_its_id() -> None:
    assert license_links([None, UNVERSIONED]) == [UNVERSIONED]


@pytest.mark.usefixtures("offline")
def test_nothing_accepted_is_still_valid(tmp_path: Path) -> None:
    settings = CurationSettings(folder=tmp_path, stages=("license",))
    write_manifest(Store(tmp_path), settings)
    dataset = load(write_croissant(Store(tmp_path), PublishSettings()))
    assert not dataset.metadata.ctx.issues.errors
    assert list(dataset.records("recordings")) == []


def test_without_a_manifest_it_says_what_comes_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="auralith curate manifest"):
        croissant(tmp_path, PublishSettings())

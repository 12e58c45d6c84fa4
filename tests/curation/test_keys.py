"""The keys in a curation's folder: a finished curation is read from nothing else, and only evidence that counts is."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from auralith.curation.guard import EvalSet, GuardSettings
from auralith.curation.keys import NAME, evidence_of, newest_key, record
from auralith.curation.licenses import LicenseSettings
from auralith.curation.outcomes import outcomes
from auralith.curation.publish.card import write_card
from auralith.curation.publish.manifest import manifest, write_manifest
from auralith.curation.run import curate, run_step
from auralith.curation.settings import CurationSettings, StageName, TaggerFiles
from auralith.curation.sources import SourceSettings
from auralith.curation.stage import CurationStep, evidence_key
from auralith.curation.steps import step_of
from auralith.curation.store import EVIDENCE, RECORDINGS, EvidenceKey, Store
from auralith.curation.tagging.stage import TaggingSettings
from auralith.errors import ResourceError
from auralith.files import utc_now
from auralith.settings import load_settings
from tests.curation.whole import recipe, write_inputs

WEIGHTS = b"some weights"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Recordings without a sound, so that a tagger is asked for nothing but its name."""
    rows = [{"rec_id": f"freesound:{n}", "source": "freesound"} for n in range(3)]
    store = Store(tmp_path / "curation")
    store.append("recordings", pa.Table.from_pylist(rows, RECORDINGS), "batch-0")
    return store


def step(settings: CurationSettings, name: StageName) -> CurationStep:
    found = step_of(settings, name)
    assert found is not None
    return found


def do(store: Store, settings: CurationSettings, name: StageName) -> EvidenceKey:
    """Run one step over everything; the key that it was run under."""
    ids = store.recordings(["rec_id"])["rec_id"].combine_chunks()
    list(run_step(store, settings, step(settings, name), ids, {}))
    key = newest_key(store, step(settings, name))
    assert key is not None
    return key


def tagging(folder: Path, **changes: Any) -> CurationSettings:
    path = folder / "weights.pth"
    path.write_bytes(WEIGHTS)
    rule = TaggingSettings(**changes)
    return CurationSettings(folder / "curation", tag=rule, tagger=TaggerFiles(path, "cpu"))


def identified(store: Store, reference: str, rec_id: str = "freesound:1", at: str = "") -> None:
    """Evidence of the identification: a recording in which a reference plays."""
    row = {
        "rec_id": rec_id,
        "stage": "identify",
        "at": at or utc_now(),
        **vars(EvidenceKey("p", "1", "h")),
    }
    table = pa.Table.from_pylist([row], EVIDENCE).append_column("best_ref", pa.array([reference]))
    matches = pa.array([[{"ref": reference}]])
    store.append(
        "identify",
        table.append_column("matches", matches),
        f"{store.next_slice('identify'):08d}",
    )


def test_a_finished_curation_is_read_from_its_folder_alone(tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    write_inputs(inputs)
    settings = load_settings(CurationSettings, recipe(inputs, tmp_path / "out", "recipe"))
    list(curate(settings))
    store = Store(settings.folder)

    def results() -> list[object]:
        write_manifest(store, settings)
        text = write_card(store, settings).read_text()
        return [outcomes(store, settings), manifest(store, settings), text]

    before = results()
    (inputs / "catalogue.csv").unlink()
    (inputs / "evaluation.csv").unlink()
    assert results() == before
    (settings.folder / NAME).unlink()
    assert results() == before


def test_a_tagged_curation_is_read_without_the_weights(store: Store, tmp_path: Path) -> None:
    settings = tagging(tmp_path, allow_unknown_weights=True)
    key = do(store, settings, "tag")
    (tmp_path / "weights.pth").unlink()
    plain = replace(settings, tagger=TaggerFiles())
    for tag in (
        TaggingSettings(),
        TaggingSettings(allow_unknown_weights=True),
        TaggingSettings(weights_sha256=DIGEST),
        TaggingSettings(weights_sha256=DIGEST.upper()),
    ):
        assert newest_key(store, step(replace(plain, tag=tag), "tag")) == key
    for tag in (TaggingSettings(weights_sha256="0" * 64), TaggingSettings(threshold=0.2)):
        assert newest_key(store, step(replace(plain, tag=tag), "tag")) is None
        assert evidence_of(store, step(replace(plain, tag=tag), "tag"), ["rec_id"]).num_rows == 0


def test_of_several_runs_the_newest_counts(store: Store, tmp_path: Path) -> None:
    ours, open_ones = LicenseSettings(("cc0",)), CurationSettings(store.folder)
    strict = replace(open_ones, license=ours)
    keys = [do(store, settings, "license") for settings in (open_ones, strict, open_ones)]
    assert keys[0] == keys[2] != keys[1]
    for settings, key in ((open_ones, keys[0]), (strict, keys[1])):
        assert newest_key(store, step(settings, "license")) == key
    assert [run["params_hash"] for run in entries(store)["license"]] == [
        keys[1].params_hash,
        keys[0].params_hash,
    ]
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    settings = tagging(tmp_path, weights_sha256=DIGEST)
    first = do(store, settings, "tag")
    digest = hashlib.sha256(b"other weights").hexdigest()
    others = replace(
        settings, tagger=TaggerFiles(other), tag=TaggingSettings(weights_sha256=digest)
    )
    second = do(store, others, "tag")
    any_weights = step(replace(settings, tag=TaggingSettings()), "tag")
    assert newest_key(store, any_weights) == second
    do(store, settings, "tag")  # nothing is made again, but these weights are the newest now
    assert newest_key(store, any_weights) == first != second
    assert store.read("tag").num_rows == 6


def entries(store: Store) -> Mapping[str, list[dict[str, Any]]]:
    return json.loads((store.folder / NAME).read_text())


def guarded(store: Store) -> CurationSettings:
    sets = (EvalSet("clotho"), EvalSet("own", source="fma"))
    return CurationSettings(store.folder, guard=GuardSettings(sets))


def test_the_guard_counts_no_more_when_the_identification_finds_more(store: Store) -> None:
    settings = guarded(store)
    identified(store, "clotho:5")
    first = do(store, settings, "guard")
    identified(store, "another:7")  # of a set that isn't guarded
    identified(store, "clotho:6")  # of a set that it is known to be in
    assert newest_key(store, step(settings, "guard")) == first
    identified(store, "own:1", "freesound:2")
    assert newest_key(store, step(settings, "guard")) is None
    assert do(store, settings, "guard") != first


def test_an_older_folder_is_read_and_then_migrates_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guard, tag = guarded(store), tagging(tmp_path, allow_unknown_weights=True)
    strict = CurationSettings(store.folder, license=LicenseSettings(("cc0",)))
    identified(store, "clotho:5")
    asked: list[tuple[CurationSettings, StageName]] = [
        *((guard, "guard"), (tag, "tag"), (strict, "license"), (guard, "license")),
    ]
    keys = [do(store, settings, name) for settings, name in asked]
    written = entries(store)
    (store.folder / NAME).unlink()
    assert [newest_key(store, step(settings, name)) for settings, name in asked] == keys
    assert not (store.folder / NAME).exists()

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        do(store, guard, "preference")
        do(store, guard, "license")
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert "steps.json" in line and "guard, identify, license, tag" in line
    migrated = entries(store)
    del written["guard"][0]["reads"]["own"]  # nothing was found in it
    for name, runs in written.items():
        assert migrated[name] == runs
    assert [newest_key(store, step(settings, name)) for settings, name in asked] == keys


def test_what_an_older_guard_cannot_have_read_is_unread(store: Store) -> None:
    settings = guarded(store)
    do(store, settings, "guard")
    identified(store, "clotho:5", at="2999-01-01T00:00:00Z")
    (store.folder / NAME).unlink()
    assert newest_key(store, step(settings, "guard")) is None


def test_what_was_never_run_has_no_key_and_no_rows(tmp_path: Path) -> None:
    store, settings = Store(tmp_path / "new"), CurationSettings()
    for name in settings.stages:
        assert newest_key(store, step(settings, name)) is None
        assert evidence_of(store, step(settings, name), ["rec_id", "x"]).num_rows == 0
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"license": [{}]}',
        '{"license": [{"provider": 1}]}',
        '{"license": 5}',
        '{"license": [{"provider": "\\ud800", "provider_version": "1", "params_hash": "2"}]}',
        "\xff",
    ],
)
def test_a_damaged_file_is_one_line(store: Store, text: str) -> None:
    settings = CurationSettings(store.folder)
    key = do(store, settings, "license")
    (store.folder / NAME).write_bytes(text.encode("latin-1"))
    license = step(settings, "license")
    with pytest.raises(ResourceError, match=r"steps\.json can't be read .*remove it") as caught:
        newest_key(store, license)
    assert "\n" not in str(caught.value)
    with pytest.raises(ResourceError, match=r"steps\.json can't be read"):
        record(store, license, key, settings.license)
    (store.folder / NAME).unlink()
    assert newest_key(store, license) == key == evidence_key(license.load(store)())


def test_sources_of_sounds_are_no_part_of_a_key(store: Store) -> None:
    key = do(store, CurationSettings(store.folder), "license")
    moved = CurationSettings(store.folder, sources=(SourceSettings("folder", Path("elsewhere")),))
    assert newest_key(store, step(moved, "license")) == key

"""The manifest: what was accepted, with all that training and attribution need, as training reads it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from auralith.curation.keys import record
from auralith.curation.licenses import SAMPLING_PLUS
from auralith.curation.publish.manifest import (
    SCHEMA,
    manifest,
    read_manifest,
    split_of,
    write_manifest,
)
from auralith.curation.settings import (
    CurationSettings,
    HighFidelity,
    PublishSettings,
    SourceSettings,
    StageName,
)
from auralith.curation.sources.intake import ROOTS, remember_roots, remembered_roots, root_of
from auralith.curation.stage import evidence_key
from auralith.curation.steps import step_of
from auralith.curation.store import EVIDENCE, RECORDINGS, Store
from auralith.data.crops import AudioOptions
from auralith.data.prompts import PromptOptions
from auralith.data.recordings import open_recordings
from auralith.data.report import scan
from auralith.errors import InvalidRequest, ResourceError

STEREO = {"sample_rate_hz": 48_000, "channels": 2, "full_band": True, "codec": "PCM_16"}


def say(
    store: Store,
    settings: CurationSettings,
    name: StageName,
    rows: Mapping[str, Mapping[str, Any]],
) -> None:
    """Evidence of a step for these ids: passed, unless the row says otherwise."""
    step = step_of(settings, name)
    assert step is not None
    stage = step.load(store)()
    record(store, step, evidence_key(stage), stage.settings)
    shared = {"stage": name, **vars(evidence_key(stage)), "status": "ok", "at": "now"}
    full = [{"rec_id": id, **shared, "verdict": "pass"} | dict(row) for id, row in rows.items()]
    names = [*EVIDENCE.names, *dict.fromkeys(n for row in full for n in row)]
    columns = {name: [row.get(name) for row in full] for name in dict.fromkeys(names)}
    table = pa.table(columns)
    for i, field in enumerate(EVIDENCE):
        table = table.set_column(i, field.name, table[field.name].cast(field.type))
    store.append(name, table, f"{store.next_slice(name):08d}")


def curation(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    probed: Mapping[str, Any] | None = STEREO,
    sources: tuple[SourceSettings, ...] = (),
) -> tuple[Store, CurationSettings]:
    """A curation whose recordings are all accepted; keys of a row that aren't ours are evidence."""
    stages = ("license",) if probed is None else ("license", "probe")
    settings = CurationSettings(folder=folder, stages=stages, sources=sources)
    store = Store(folder)
    defaults = {"license_spdx": "CC0-1.0", "duration_s": 2.0, "path": None}
    full = [defaults | dict(row) | {"source": row["rec_id"].split(":")[0]} for row in rows]
    ours = [{name: row.get(name) for name in RECORDINGS.names} for row in full]
    store.append("recordings", pa.Table.from_pylist(ours, RECORDINGS), "batch-0")
    licenses = ("license_spdx", "license_version", "license_uri")
    say(store, settings, "license", {r["rec_id"]: {n: r.get(n) for n in licenses} for r in full})
    if probed is not None:
        names = ("sha256", "pcm_sha256", "duration_s", *STEREO)
        found = {r["rec_id"]: {n: r.get(n, probed.get(n)) for n in names} for r in full}
        say(store, settings, "probe", found)
    return store, settings


def rows_of(table: pa.Table) -> dict[str, dict[str, Any]]:
    assert table.schema == SCHEMA
    return {row["rec_id"]: row for row in table.to_pylist()}


def test_it_holds_what_was_accepted_and_nothing_else(tmp_path: Path) -> None:
    store, settings = curation(tmp_path, [{"rec_id": f"freesound:{n}"} for n in range(4)])
    say(
        store,
        settings,
        "license",
        {
            "freesound:1": {"verdict": "refuse", "reason_code": "license_nc"},
            "freesound:2": {
                "verdict": "quarantine",
                "reason_code": "x",
                "status": "error",
            },
        },
    )
    assert list(rows_of(manifest(store, settings))) == ["freesound:0", "freesound:3"]


def test_it_has_the_fields_of_prompts_and_licenses(tmp_path: Path) -> None:
    known = {
        "rec_id": "fma:1",
        "title": 'A "<b>\n',
        "author": "Somebody",
        "tags": ["x", "y"],
        "genres": ["Rock"],
        "year": 1999,
        "album": "One",
        "description": "two\nlines",
        "url": "https://e.org/1",
        "license_spdx": "CC-BY-3.0",
        "license_version": "3.0",
        "license_uri": "https://creativecommons.org/licenses/by/3.0/",
        "sha256": "ab",
    }
    store, settings = curation(tmp_path, [known])
    row = rows_of(manifest(store, settings))["fma:1"]
    assert {name: row[name] for name in known} == known
    assert row["artist"] == "Somebody" and row["prompt"] is None and row["partition"] == "main"
    assert (row["duration_s"], row["sample_rate_hz"], row["channels"]) == (2.0, 48_000, 2)


def test_an_uploader_is_no_artist(tmp_path: Path) -> None:
    store, settings = curation(tmp_path, [{"rec_id": "freesound:1", "author": "somebody"}])
    row = rows_of(manifest(store, settings))["freesound:1"]
    assert row["author"] == "somebody" and row["artist"] is None


def test_sampling_plus_is_a_partition_of_its_own(tmp_path: Path) -> None:
    rows = [{"rec_id": "f:1", "license_spdx": SAMPLING_PLUS}, {"rec_id": "f:2"}]
    store, settings = curation(tmp_path, rows)
    assert manifest(store, settings)["partition"].to_pylist() == ["sampling+", "main"]


def test_high_fidelity_is_stereo_at_48_khz_with_high_frequencies_or_known_music(
    tmp_path: Path,
) -> None:
    rows = [
        {"rec_id": "freesound:good"},
        {"rec_id": "freesound:mono", "channels": 1},
        {"rec_id": "freesound:slow", "sample_rate_hz": 44_100},
        {"rec_id": "freesound:dull", "full_band": False},
        {"rec_id": "freesound:unknown", "full_band": None},
        {"rec_id": "fma:1", "sample_rate_hz": 44_100, "full_band": False},
    ]
    store, settings = curation(tmp_path, rows)

    def chosen(options: PublishSettings) -> set[str]:
        found = rows_of(manifest(store, replace(settings, publish=options)))
        return {id for id, row in found.items() if row["high_fidelity"]}

    assert chosen(PublishSettings()) == {"freesound:good", "fma:1"}
    both = HighFidelity(sample_rates_hz=(44_100, 48_000))
    assert chosen(PublishSettings(both)) == {"freesound:good", "freesound:slow", "fma:1"}


def test_duplicates_are_grouped_and_share_a_split(tmp_path: Path) -> None:
    rows = [{"rec_id": f"f:{n}", "sha256": f"{n % 50}"} for n in range(100)]
    rows += [{"rec_id": "f:x"}, {"rec_id": "f:y", "sha256": "unique"}]
    store, settings = curation(tmp_path, rows)
    settings = replace(settings, publish=PublishSettings(validation_share=0.5))
    found = rows_of(manifest(store, settings))
    assert all(found[f"f:{n}"]["dup_group"] == f"f:{n % 50}" for n in range(100))
    assert found["f:x"]["dup_group"] is None and found["f:y"]["dup_group"] is None
    assert all(found[f"f:{n}"]["split"] == found[f"f:{n + 50}"]["split"] for n in range(50))
    assert {row["split"] for row in found.values()} == {"train", "validation"}


def test_the_split_follows_from_the_id_alone() -> None:
    ids = [f"freesound:{n}" for n in range(10_000)]
    chosen = [id for id in ids if split_of(id, 0.1) == "validation"]
    assert abs(len(chosen) - 1_000) < 100
    assert {id for id in ids if split_of(id, 0.05) == "validation"} < set(chosen)
    assert all(split_of(id, 0.0) == "train" for id in ids)
    assert split_of("freesound:1", 0.5) == "validation" and split_of("fma:2", 0.5) == "train"


def test_the_last_evidence_counts(tmp_path: Path) -> None:
    store, settings = curation(tmp_path, [{"rec_id": "f:1", "sha256": "old"}])
    say(store, settings, "probe", {"f:1": {**STEREO, "sha256": "new", "duration_s": 3.0}})
    row = rows_of(manifest(store, settings))["f:1"]
    assert (row["sha256"], row["duration_s"]) == ("new", 3.0)


def test_nothing_accepted_is_a_manifest_without_rows(tmp_path: Path) -> None:
    store, settings = Store(tmp_path), CurationSettings(folder=tmp_path, stages=("license",))
    path = write_manifest(store, settings)
    assert read_manifest(tmp_path).schema == SCHEMA and read_manifest(tmp_path).num_rows == 0
    with pytest.raises(InvalidRequest, match="has no rows"):
        open_recordings(path)


def test_without_a_probe_there_are_no_measurements_and_unknown_lengths_are_null(
    tmp_path: Path,
) -> None:
    rows = [{"rec_id": "freesound:1", "duration_s": None}, {"rec_id": "fma:1"}]
    store, settings = curation(tmp_path, rows, probed=None)
    found = rows_of(manifest(store, settings))
    assert found["freesound:1"]["duration_s"] is None and found["fma:1"]["duration_s"] == 2.0
    measured = ("sha256", "sample_rate_hz", "channels", "dup_group", "path")
    assert all(row[name] is None for row in found.values() for name in measured)
    assert [found[id]["high_fidelity"] for id in ("freesound:1", "fma:1")] == [False, True]


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, CurationSettings]:
    """Two sources, their sounds in folders of their own, one of them reached through a link."""
    top = tmp_path_factory.mktemp("tree")
    noise = np.random.default_rng(0).standard_normal((22_050, 2)) * 0.1
    rows = []
    for source in ("freesound", "fma"):
        (top / f"{source} sounds" / "deep").mkdir(parents=True)
        for n in range(4):
            name = f"deep/{n} é.wav"
            soundfile.write(top / f"{source} sounds" / name, noise.clip(-1, 1), 44_100)
            about = {"title": f"Sound {n}", "tags": ["noise", "short"], "author": "me"}
            rows.append({"rec_id": f"{source}:{n}", "path": name} | about)
    (top / "linked").symlink_to(top / "fma sounds")
    (top / "work" / "curated").mkdir(parents=True)
    sources = (
        SourceSettings("table", top / "x.csv", top / "freesound sounds", name="freesound"),
        SourceSettings("table", top / "y.csv", top / "linked", name="fma"),
    )
    return curation(top / "work" / "curated", rows, {}, sources)


def test_training_reads_it_as_it_is(sounding: tuple[Store, CurationSettings]) -> None:
    store, settings = sounding
    recordings = open_recordings(write_manifest(store, settings))
    report = scan(recordings, AudioOptions(), PromptOptions())
    assert report.bad == () and len(report.usable) == 8
    freesound = next(r for r in map(recordings.__getitem__, range(8)) if "freesound" in r.path)
    assert freesound.prompts == () and freesound.metadata["tags"] == "noise, short"


def test_paths_start_from_the_manifest_and_name_no_machine(
    sounding: tuple[Store, CurationSettings],
) -> None:
    store, settings = sounding
    paths = manifest(store, settings)["path"].to_pylist()
    assert paths[0] == "../../fma sounds/deep/0 é.wav"
    assert not any(Path(path).is_absolute() for path in paths)


def test_a_tree_that_is_moved_whole_still_trains(
    sounding: tuple[Store, CurationSettings], tmp_path: Path
) -> None:
    store, settings = sounding
    write_manifest(store, settings)
    link = tmp_path / "elsewhere"
    link.symlink_to(store.folder)
    report = scan(open_recordings(link / "manifest.parquet"), AudioOptions(), PromptOptions())
    assert report.bad == ()


def test_fine_tuning_takes_it(sounding: tuple[Store, CurationSettings], tmp_path: Path) -> None:
    from auralith.cli.main import run

    store, settings = sounding
    path = write_manifest(store, settings)
    out = tmp_path / "model"
    command = f"finetune {path} -o {out} --steps 2 --batch-size 2 --no-checks --demo-every 0"
    assert run(command.split()) == 0
    card = (out / "MODEL_CARD.md").read_text()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"manifest.parquet, manifest of a curation, SHA-256 `{digest}`: 8 recordings" in card
    assert "CC0-1.0: 8" in card


def test_a_recording_without_sound_is_listed_but_not_trained_on(tmp_path: Path) -> None:
    store, settings = curation(tmp_path, [{"rec_id": "fma:1", "title": "x"}], probed=None)
    path = write_manifest(store, settings)
    assert read_manifest(tmp_path, ["rec_id", "path"]).to_pylist() == [
        {"rec_id": "fma:1", "path": None}
    ]
    with pytest.raises(InvalidRequest, match="row 1 has no path; name a sound file there"):
        open_recordings(path)


def test_a_missing_or_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"has no manifest\.parquet; auralith curate manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.parquet").write_text("no table")
    with pytest.raises(ResourceError, match="can't be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("validation_share", 1.0),
        ("validation_share", -0.1),
        ("version", "1.0"),
        ("name", " "),
        ("date_published", "31.3.2026"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=field):
        replace(PublishSettings(), **{field: value})


def test_steps_done_one_by_one_remember_where_the_sounds_are(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.wav").touch()
    folder = tmp_path / "c"
    remember_roots(folder, {"t": tmp_path / "elsewhere"})
    remember_roots(folder, dict.fromkeys(["t", "u"], tmp_path / "s"))
    assert remembered_roots(folder) == {"t": ["../s", "../elsewhere"], "u": ["../s"]}
    assert root_of(folder, "t", "a.wav") == folder / "../s"
    assert root_of(folder, "t", "b.wav") is None and root_of(folder, "v", "a.wav") is None
    (folder / ROOTS).write_text("[]")
    with pytest.raises(InvalidRequest, match="damaged"):
        remembered_roots(folder)


def test_equal_sounds_under_different_licenses_are_flagged(tmp_path: Path) -> None:
    rows = [
        {"rec_id": "f:1", "license_spdx": "CC0-1.0", "sha256": "x"},
        {"rec_id": "f:2", "license_spdx": "CC-BY-3.0", "sha256": "x"},
        {"rec_id": "f:3", "license_spdx": "CC0-1.0", "sha256": "y"},
        {"rec_id": "f:4", "license_spdx": "CC0-1.0", "sha256": "y"},
    ]
    store, settings = curation(tmp_path, rows)
    found = manifest(store, settings)["copies_under"].to_pylist()
    assert found == ["CC-BY-3.0, CC0-1.0", "CC-BY-3.0, CC0-1.0", None, None]


def test_a_sound_is_flagged_that_is_equal_to_a_refused_one(tmp_path: Path) -> None:
    for name, content in {
        "a.wav": b"same",
        "b.wav": b"same",
        "c.wav": b"else",
        "d.wav": b"x",
    }.items():
        (tmp_path / name).write_bytes(content)
    digests = {
        n: hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in ("a.wav", "c.wav")
    }
    rows = [
        {"rec_id": "f:1", "path": "a.wav", "license_spdx": "CC0-1.0", "sha256": digests["a.wav"]},
        {"rec_id": "f:2", "path": "b.wav"},
        {"rec_id": "f:3", "path": "c.wav", "license_spdx": "CC0-1.0", "sha256": digests["c.wav"]},
        {"rec_id": "f:4", "path": "d.wav"},
    ]
    store, settings = curation(tmp_path, rows)
    no = {"verdict": "refuse", "reason_code": "license_sa", "license_spdx": "CC-BY-SA-4.0"}
    say(store, settings, "license", {"f:2": no, "f:4": no})
    table = manifest(store, settings)
    assert dict(
        zip(table["rec_id"].to_pylist(), table["copies_under"].to_pylist(), strict=True)
    ) == {
        "f:1": "CC-BY-SA-4.0, CC0-1.0",
        "f:3": None,
    }

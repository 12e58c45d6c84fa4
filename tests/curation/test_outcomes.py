"""The fold: accepted only if every due step says so under the current settings; else one first reason."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from auralith.curation.keys import record
from auralith.curation.licenses import LicenseSettings
from auralith.curation.outcomes import SCHEMA, outcomes
from auralith.curation.review import cases, decide, open_items, suspects
from auralith.curation.settings import CurationSettings, StageName
from auralith.curation.stage import evidence_key
from auralith.curation.steps import step_of
from auralith.curation.store import EVIDENCE, RECORDINGS, Store
from auralith.errors import InvalidRequest

IDS = ["fma:1", "freesound:1", "freesound:2"]


@pytest.fixture
def settings(tmp_path: Path) -> CurationSettings:
    catalogue = tmp_path / "catalogue.csv"
    catalogue.write_text("track_id,artists,album_name,track_name,duration_ms\n1,A,B,C,1000\n")
    stages: tuple[StageName, ...] = ("license", "probe", "metadata", "guard")
    return CurationSettings(folder=tmp_path, stages=stages, catalogue=catalogue)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rows = [{"rec_id": id, "source": id.split(":")[0], "duration_s": 9.0} for id in IDS]
    store = Store(tmp_path)
    store.append("recordings", pa.Table.from_pylist(rows, RECORDINGS), "batch-0")
    return store


def say(
    store: Store,
    settings: CurationSettings,
    name: StageName,
    verdict: str = "pass",
    reason: str | None = None,
    ids: list[str] = IDS,
    status: str = "ok",
    **own: Any,
) -> None:
    """Write evidence, as the step would under these settings."""
    step = step_of(settings, name)
    assert step is not None
    stage = step.load(store)()
    key = evidence_key(stage)
    record(store, step, key, stage.settings)
    shared = {"stage": name, **vars(key), "status": status, "at": "now"}
    rows = [{"rec_id": id, **shared, "verdict": verdict, "reason_code": reason} for id in ids]
    table = pa.Table.from_pylist(rows, EVIDENCE)
    for column, value in own.items():
        table = table.append_column(column, pa.array([value] * len(ids)))
    store.append(name, table, f"{store.next_slice(name):08d}")


def pass_all(store: Store, settings: CurationSettings, *without: str) -> None:
    for name in settings.stages:
        if name not in without:
            own: dict[str, Any] = {}
            if name == "license":
                own["license_spdx"] = "CC0-1.0"
            if name == "probe":
                own["duration_s"] = 7.5
            say(store, settings, name, **own)


def states(store: Store, settings: CurationSettings) -> dict[str, tuple[Any, ...]]:
    table = outcomes(store, settings)
    assert table.schema == SCHEMA and table["rec_id"].to_pylist() == IDS
    return {r["rec_id"]: (r["outcome"], r["stage"], r["reason_code"]) for r in table.to_pylist()}


ACCEPTED = ("accepted", None, None)


def test_what_passes_every_step_is_accepted_with_its_license_and_length(
    store: Store, settings: CurationSettings
) -> None:
    pass_all(store, settings)
    assert outcomes(store, settings).to_pylist() == [
        {
            "rec_id": id,
            "source": id.split(":")[0],
            "license_spdx": "CC0-1.0",
            "seconds": 7.5,
            "outcome": "accepted",
            "stage": None,
            "reason_code": None,
        }
        for id in IDS
    ]


def test_without_a_probe_the_stated_length_counts(store: Store, settings: CurationSettings) -> None:
    unprobed = replace(settings, stages=("license",))
    pass_all(store, unprobed)
    assert outcomes(store, unprobed)["seconds"].to_pylist() == [9.0] * 3


@pytest.mark.parametrize("missing", ["license", "probe", "guard"])
def test_a_missing_row_is_not_accepted(
    store: Store, settings: CurationSettings, missing: str
) -> None:
    pass_all(store, settings, missing)
    assert set(states(store, settings).values()) == {("pending", missing, "not_run")}


@pytest.mark.parametrize("status", ["error", "indeterminate", "skipped"])
def test_an_error_or_no_answer_is_never_a_pass(
    store: Store, settings: CurationSettings, status: str
) -> None:
    pass_all(store, settings, "probe")
    say(store, settings, "probe", "quarantine", "truncated", IDS[:1], status)
    say(store, settings, "probe", "pass", None, IDS[1:], status)  # a stage that contradicts itself
    found = states(store, settings)
    assert found[IDS[0]] == ("quarantined", "probe", "truncated")
    assert found[IDS[1]] == found[IDS[2]] == ("quarantined", "probe", status)


def test_the_first_reason_is_the_one_that_counts(store: Store, settings: CurationSettings) -> None:
    pass_all(store, settings, "license", "probe")
    say(store, settings, "license", "refuse", "license_nc", IDS[:1])
    say(store, settings, "license", ids=IDS[1:])
    say(store, settings, "probe", "quarantine", "silent")
    assert states(store, settings) == {
        IDS[0]: ("removed", "license", "license_nc"),
        IDS[1]: ("quarantined", "probe", "silent"),
        IDS[2]: ("quarantined", "probe", "silent"),
    }


def test_evidence_of_other_settings_does_not_count(
    store: Store, settings: CurationSettings
) -> None:
    pass_all(store, settings)
    other = replace(settings, license=LicenseSettings(("cc0",)))
    assert set(states(store, other).values()) == {("pending", "license", "not_run")}
    assert set(states(store, settings).values()) == {ACCEPTED}


def test_a_retry_counts_instead_of_the_error_before_it(
    store: Store, settings: CurationSettings
) -> None:
    pass_all(store, settings, "probe")
    say(store, settings, "probe", "quarantine", "unreadable_file", IDS, "error")
    say(store, settings, "probe", ids=IDS[:1])
    found = states(store, settings)
    assert found[IDS[0]] == ACCEPTED and found[IDS[1]][0] == "quarantined"


def flag_fma(store: Store, settings: CurationSettings) -> None:
    pass_all(store, settings, "metadata")
    say(store, settings, "metadata", "flag", "metadata_a", ["fma:1"], tier="A")
    open_items(store.folder, suspects(store))


def test_what_is_flagged_waits_for_people(store: Store, settings: CurationSettings) -> None:
    flag_fma(store, settings)
    assert states(store, settings) == {
        "fma:1": ("pending", "review", "metadata_a"),
        **dict.fromkeys(IDS[1:], ACCEPTED),
    }


@pytest.mark.parametrize(
    ("choice", "code", "expected"),
    [
        ("keep", "false_match", ACCEPTED),
        ("remove", "commercial_recording", ("removed", "review", "commercial_recording")),
    ],
)
def test_two_people_decide(
    store: Store, settings: CurationSettings, choice: str, code: str, expected: tuple[Any, ...]
) -> None:
    flag_fma(store, settings)
    (case,) = cases(store.folder)
    decide(store.folder, case.item.item_id, "ann", choice, code)
    assert states(store, settings)["fma:1"] == ("pending", "review", "metadata_a")
    decide(store.folder, case.item.item_id, "bob", choice, code)
    assert states(store, settings)["fma:1"] == expected


def test_a_decision_on_older_evidence_keeps_nothing_but_still_removes(
    store: Store, settings: CurationSettings
) -> None:
    for choice, code in (("keep", "false_match"), ("remove", "withdrawn")):
        folder = store.folder / choice
        mine = Store(folder)
        mine.append("recordings", store.read("recordings"), "batch-0")
        flag_fma(mine, settings)
        (case,) = cases(folder)
        for person in ("ann", "bob"):
            decide(folder, case.item.item_id, person, choice, code)
        longer = replace(settings, metadata=replace(settings.metadata, max_matches=50))
        say(mine, longer, "metadata", "flag", "metadata_b", ["fma:1"], tier="B")
        found = states(mine, longer)["fma:1"]
        expected = {
            "keep": ("pending", "review", "metadata_b"),
            "remove": ("removed", "review", "withdrawn"),
        }
        assert found == expected[choice]


def test_a_review_keeps_no_recording_that_its_license_refuses(
    store: Store, settings: CurationSettings
) -> None:
    flag_fma(store, settings)
    (case,) = cases(store.folder)
    for person in ("ann", "bob"):
        decide(store.folder, case.item.item_id, person, "keep", "false_match")
    strict = replace(settings, license=LicenseSettings(("cc0",)))
    say(store, strict, "license", "refuse", "license_not_selected")
    assert states(store, strict)["fma:1"] == ("removed", "license", "license_not_selected")


def test_one_of_each_group_of_duplicates_stays_if_asked_for(
    store: Store, settings: CurationSettings
) -> None:
    pass_all(store, settings, "probe")
    own: dict[str, Any] = {"sha256": "same", "pcm_sha256": "same", "codec": "PCM_16"}
    own["duration_s"] = 3.0
    say(store, settings, "probe", **own)
    assert set(states(store, settings).values()) == {ACCEPTED}
    assert states(store, replace(settings, dedupe=True)) == {
        IDS[0]: ACCEPTED,
        **dict.fromkeys(IDS[1:], ("removed", "probe", "duplicate")),
    }


def test_an_id_whose_rows_disagree_is_quarantined(store: Store, settings: CurationSettings) -> None:
    pass_all(store, settings)
    rejected = pa.table(
        {
            "rec_id": ["freesound:1", None, "freesound:9"],
            "reason_code": ["conflicting_id", "no_id", "conflicting_id"],
        }
    )
    store.append("rejected", rejected, "batch-0")
    found = states(store, settings)
    assert found["freesound:1"] == ("quarantined", "ingest", "conflicting_id")
    assert found["freesound:2"] == ACCEPTED


def test_an_id_that_was_stored_twice_is_one_recording(
    store: Store, settings: CurationSettings
) -> None:
    store.append("recordings", store.read("recordings"), "batch-1")
    pass_all(store, settings)
    assert set(states(store, settings).values()) == {ACCEPTED}


def test_nothing_is_no_recordings(tmp_path: Path) -> None:
    empty = CurationSettings(folder=tmp_path / "new", stages=("license",))
    assert outcomes(Store(empty.folder), empty).num_rows == 0


@pytest.mark.parametrize("stages", [("guard", "license"), ("license", "license"), ("probe",)])
def test_stages_out_of_order_or_without_licenses_are_refused(
    stages: tuple[StageName, ...],
) -> None:
    with pytest.raises(InvalidRequest, match=r"stages|license"):
        CurationSettings(stages=stages)


def test_it_takes_seconds_for_as_many_recordings_as_the_card_counts(tmp_path: Path) -> None:
    """A tenth of them here, in a tenth of the time; the benchmark has all."""
    size = 48_649
    settings = CurationSettings(folder=tmp_path, stages=("license",))
    store = Store(tmp_path)
    ids = [f"freesound:{n}" for n in range(size)]
    columns = {"rec_id": ids, "source": ["freesound"] * size, "duration_s": np.ones(size)}
    store.append("recordings", pa.table(columns), "batch-0")
    say(store, settings, "license", ids=ids[: size // 2], license_spdx="CC0-1.0")
    say(store, settings, "license", "refuse", "license_nc", ids[size // 2 :], license_spdx="x")
    started = time.perf_counter()
    table = outcomes(store, settings)
    assert time.perf_counter() - started < 3.0
    assert Counter(table["outcome"].to_pylist()) == {
        "accepted": size // 2,
        "removed": size - size // 2,
    }

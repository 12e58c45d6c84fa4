"""The funnel: each recording counted once, totals that add up, a table and a picture."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.cli.curate.publish import register
from auralith.curation.outcomes import SCHEMA
from auralith.curation.publish.funnel import (
    DROPS,
    NO_LICENSE,
    Funnel,
    Funnels,
    Tally,
    funnels,
    total,
    write_funnel,
)
from auralith.curation.settings import STAGES, CurationSettings
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from tests.curation.test_manifest import curation, say

PLANNED = CurationSettings(stages=("license", "preference", "probe", "tag", "guard"))
ENDS = [
    ("accepted", None, None),
    ("removed", "license", "license_nc"),
    ("removed", "license", "license_unknown"),
    ("quarantined", "ingest", "conflicting_id"),
    ("quarantined", "probe", "truncated"),
    ("removed", "probe", "duplicate"),
    ("pending", "identify", "music"),
    ("pending", "review", "metadata_a"),
    ("removed", "review", "withdrawn"),
    ("removed", "guard", "eval_overlap:esc50"),
]
ROW = st.tuples(
    st.sampled_from(["freesound", "fma", "own"]),
    st.sampled_from(["CC0-1.0", "CC-BY-4.0", None]),
    st.one_of(st.floats(0, 40_000), st.sampled_from([float("nan"), float("inf"), -1.0])),
    st.sampled_from(ENDS),
)


def ends(rows: list[Any]) -> pa.Table:
    """A table of outcomes."""
    full = [
        dict(zip(SCHEMA.names, (f"{source}:{n:06d}", source, license, seconds, *end), strict=True))
        for n, (source, license, seconds, end) in enumerate(rows)
    ]
    return pa.Table.from_pylist(full, SCHEMA)


def count(rows: list[Any], folder: Path = Path("nowhere")) -> Funnels:
    return funnels(Store(folder), PLANNED, ends(rows))


def assert_adds_up(counted: Funnels, num_recordings: int) -> None:
    """Every recording is counted once in each funnel, and the parts make the whole."""
    for funnel in (counted.all, *counted.by_source.values(), *counted.by_license.values()):
        assert_chain(funnel)
    assert counted.all.ingested.recordings == num_recordings
    assert_parts(counted.all, list(counted.by_source.values()))
    assert_parts(counted.all, list(counted.by_license.values()))
    assert total(counted.accepted.values()) == counted.all.accepted


def assert_chain(funnel: Funnel) -> None:
    """What enters a step is dropped there or passes, and what passes enters the next."""
    entering = funnel.ingested
    for stage in funnel.stages:
        assert stage.entered == entering
        assert total((stage.passed, *map(stage.dropped_as, DROPS))) == stage.entered
        assert min(stage.passed) >= 0
        entering = stage.passed


def assert_parts(whole: Funnel, parts: list[Funnel]) -> None:
    """At each step, and for each reason, the parts make the whole."""
    for place, stage in enumerate(whole.stages):
        same = [part.stages[place] for part in parts]
        assert total(one.entered for one in same) == stage.entered
        for drop in DROPS:
            assert {reason for one in same for reason in one.dropped[drop]} == set(
                stage.dropped[drop]
            )
            for reason, tally in stage.dropped[drop].items():
                assert total(one.dropped[drop].get(reason, Tally()) for one in same) == tally


def numbers(counted: Funnels) -> dict[str, tuple[int, ...]]:
    return {
        stage.stage: (
            stage.entered.recordings,
            *(stage.dropped_as(drop).recordings for drop in DROPS),
            stage.passed.recordings,
        )
        for stage in counted.all.stages
    }


ALL_ENDS = [("freesound", "CC0-1.0", 3_600.0, end) for end in ENDS]


def test_each_recording_leaves_at_one_place() -> None:
    assert numbers(count(ALL_ENDS)) == {
        "ingest": (10, 0, 1, 0, 9),
        "license": (9, 2, 0, 0, 7),
        "preference": (7, 0, 0, 0, 7),
        "probe": (7, 1, 1, 0, 5),
        "tag": (5, 0, 0, 0, 5),
        "identify": (5, 0, 0, 1, 4),
        "review": (4, 1, 0, 1, 2),
        "guard": (2, 1, 0, 0, 1),
    }


def test_reasons_are_counted_the_most_frequent_first() -> None:
    counted = count([*ALL_ENDS, ("fma", None, 60.0, ENDS[2])])
    reasons = counted.all.stages[1].dropped["removed"]
    assert list(reasons) == ["license_unknown", "license_nc"]
    assert reasons["license_unknown"] == Tally(2, 3_660_000_000)
    assert counted.by_license[NO_LICENSE].ingested.recordings == 1


def test_quarantined_and_pending_are_neither_removed_nor_accepted() -> None:
    funnel = count(ALL_ENDS).all
    assert [funnel.dropped_as(drop).recordings for drop in DROPS] == [5, 2, 2]
    assert funnel.accepted.recordings == 1 and funnel.ingested.recordings == 10


@settings(max_examples=60)
@given(st.lists(ROW, max_size=60))
def test_totals_add_up_whatever_happens(rows: list[Any]) -> None:
    counted = count(rows)
    assert_adds_up(counted, len(rows))
    assert counted.all.ingested.recordings == len(rows)
    assert counted.all.accepted.recordings == sum(end[0] == "accepted" for *_, end in rows)
    for parts in (counted.by_source, counted.by_license):
        hours = sum(part.accepted.hours for part in parts.values())
        assert abs(hours - counted.all.accepted.hours) < 0.1
        assert total(part.ingested for part in parts.values()) == counted.all.ingested
    known = [s for *_, s, end in rows if end[0] == "accepted" and np.isfinite(s) and s > 0]
    assert abs(counted.all.accepted.hours - sum(known) / 3_600) < 1e-3
    unknown = sum(not (np.isfinite(s) and s > 0) for *_, s, _ in rows)
    assert counted.all.ingested.unknown_lengths == unknown


def test_a_source_without_lengths_counts_as_0_hours_and_says_so() -> None:
    counted = count([("own", "CC0-1.0", 0.0, ENDS[0])] * 3)
    assert counted.accepted == {("own", "CC0-1.0"): Tally(3, 0, 3)}
    assert counted.by_source["own"].accepted.hours == 0.0


def test_no_recordings_are_a_funnel_of_zeros(tmp_path: Path) -> None:
    counted = write_funnel(Store(tmp_path), replace(PLANNED, folder=tmp_path), ends([]))
    assert all(set(found) == {0} for found in numbers(counted).values())
    assert (tmp_path / "funnel.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_accepted_is_drawn_too(tmp_path: Path) -> None:
    write_funnel(Store(tmp_path), PLANNED, ends([("a", None, 1.0, ENDS[1])]))
    assert (tmp_path / "funnel.png").stat().st_size > 5_000


def test_the_json_says_the_same_and_adds_up(tmp_path: Path) -> None:
    rows = [*ALL_ENDS, ("fma", "CC-BY-4.0", 1_234.5, ENDS[0])]
    write_funnel(Store(tmp_path), PLANNED, ends(rows))
    said = json.loads((tmp_path / "funnel.json").read_text())
    before = said["all"][0]["in"]
    for stage in said["all"]:
        assert stage["in"] == before
        gone = sum(sum(stage[drop].values()) for drop in DROPS)
        before = stage["out"]
        assert stage["in"] == stage["out"] + gone
    assert said["accepted"] == [
        {
            "source": "fma",
            "license_spdx": "CC-BY-4.0",
            "recordings": 1,
            "hours": 0.342917,
            "unknown_lengths": 0,
        },
        {
            "source": "freesound",
            "license_spdx": "CC0-1.0",
            "recordings": 1,
            "hours": 1.0,
            "unknown_lengths": 0,
        },
    ]
    assert set(said["by_source"]) == {"freesound", "fma"}
    assert set(said["by_license"]) == {"CC0-1.0", "CC-BY-4.0"}


def test_rejected_rows_stand_beside_the_funnel(tmp_path: Path) -> None:
    table = pa.table(
        {
            "source": ["fma", "fma", "own"],
            "rec_id": [None, None, None],
            "reason_code": ["no_id", "no_id", "not_utf8"],
        }
    )
    Store(tmp_path).append("rejected", table, "batch-0")
    counted = count(ALL_ENDS, tmp_path)
    assert counted.rejected == {"fma": {"no_id": 2}, "own": {"not_utf8": 1}}
    assert counted.all.ingested.recordings == len(ALL_ENDS)


def test_every_step_has_its_place() -> None:
    rows = [("own", None, 1.0, ("removed", stage, "x")) for stage in (*STAGES, "review", "ingest")]
    stages = [stage.stage for stage in count(rows).all.stages]
    assert stages == ["ingest", *STAGES[:-1], "review", "guard"]


def test_it_takes_seconds_for_as_many_recordings_as_the_card_counts() -> None:
    rng, size = np.random.default_rng(0), 486_492
    end = rng.integers(0, len(ENDS), size)
    columns = {
        "rec_id": [f"freesound:{n}" for n in range(size)],
        "source": ["freesound"] * size,
        "license_spdx": ["CC0-1.0"] * size,
        "seconds": rng.exponential(54, size),
    }
    for place, name in enumerate(("outcome", "stage", "reason_code")):
        columns[name] = pa.array([one[place] for one in ENDS]).take(pa.array(end))
    table = pa.table(columns).cast(SCHEMA)
    started = time.perf_counter()
    counted = funnels(Store(Path("nowhere")), PLANNED, table)
    assert time.perf_counter() - started < 5
    assert_adds_up(counted, size)
    assert counted.all.accepted.recordings == int((end == 0).sum())


def app() -> typer.Typer:
    made = typer.Typer()
    register(made)
    return made


def test_the_commands_write_and_print_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "curation"
    rows = [{"rec_id": f"[b]own:{n}", "title": f"[red]{n}"} for n in range(3)]
    store, made = curation(folder, rows, probed=None)
    refused = {"verdict": "refuse", "reason_code": "license_nc"}
    say(store, made, "license", {"[b]own:2": refused})
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('stages = ["license"]\n')
    for name in ("manifest", "funnel", "card"):
        app()([name, str(folder), "--recipe", str(recipe)], standalone_mode=False)
    said = capsys.readouterr().out
    assert "2 recordings accepted\n2 of them have no sound here" in said
    assert "license_nc 1" in said and "[b]own" in said
    written = ("manifest.parquet", "funnel.json", "funnel.png", "croissant.json", "DATASET_CARD.md")
    assert all((folder / name).stat().st_size for name in written)
    assert said.splitlines()[-1] == str(folder / "DATASET_CARD.md")


@pytest.mark.parametrize("name", ["manifest", "funnel", "card"])
def test_a_folder_without_recordings_is_one_line_and_stays_as_it_is(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidRequest, match="holds no recordings; auralith curate ingest"):
        app()([name, str(tmp_path / "new")], standalone_mode=False)
    assert not (tmp_path / "new").exists()

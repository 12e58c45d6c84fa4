"""Duplicates: equal files, equal samples, matching fingerprints; which one stays."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from auralith.cli.curate.probe import register
from auralith.cli.fields import name_options
from auralith.curation.duplicates import FingerprintPair, find_duplicates
from auralith.curation.store import Store

COLUMNS = ("rec_id", "status", "sha256", "pcm_sha256", "codec", "duration_s")


def table(*rows: tuple[str, str, str, str, str, float]) -> pa.Table:
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)})


def row(
    rec_id: str, sha: str, pcm: str = "", codec: str = "flac", seconds: float = 1.0
) -> tuple[str, str, str, str, str, float]:
    return rec_id, "ok", sha, pcm or f"pcm of {rec_id}", codec, seconds


def test_equal_files_and_equal_samples_are_duplicates() -> None:
    found = find_duplicates(
        table(row("a:1", "x"), row("a:2", "x"), row("a:3", "y", "p"), row("a:4", "z", "p"))
    )
    assert found.groups == {"a:1": ["a:1", "a:2"], "a:3": ["a:3", "a:4"]}
    assert found.group_of["a:4"] == "a:3"


def test_a_recording_by_itself_has_no_group() -> None:
    assert not find_duplicates(table(row("a:1", "x"), row("a:2", "y"))).groups


def test_groups_join_over_different_kinds_of_equality() -> None:
    found = find_duplicates(
        table(row("a:9", "x"), row("a:10", "x", "p"), row("b:1", "y", "p"), row("b:2", "z")),
        [FingerprintPair("b:1", "b:2", 0.95)],
    )
    assert list(found.groups) == ["a:9"]
    assert sorted(found.group_of) == ["a:10", "a:9", "b:1", "b:2"]


@pytest.mark.parametrize(("cover", "joined"), [(0.9, True), (0.8999, False), (1.0, True)])
def test_a_fingerprint_must_cover_90_percent(cover: float, joined: bool) -> None:
    probed = table(row("a:1", "x"), row("a:2", "y"))
    found = find_duplicates(probed, [FingerprintPair("a:2", "a:1", cover)])
    assert bool(found.groups) == joined


def test_a_pair_with_a_stranger_is_passed_over() -> None:
    found = find_duplicates(table(row("a:1", "x")), [FingerprintPair("a:1", "ref:7", 1.0)])
    assert not found.groups


def test_files_that_failed_are_no_duplicates() -> None:
    empty = ("a:1", "error", "x", "", "", 0.0), ("a:2", "error", "x", "", "", 0.0)
    assert not find_duplicates(table(*empty)).groups


def test_missing_hashes_are_not_equal() -> None:
    probed = pa.table(
        {"rec_id": ["a:1", "a:2"], "status": ["ok", "ok"], "codec": ["flac", "flac"]}
        | {"sha256": pa.nulls(2), "pcm_sha256": pa.nulls(2), "duration_s": [1.0, 1.0]}
    )
    assert not find_duplicates(probed).groups


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row("a:1", "x", codec="vorbis", seconds=9.0), row("a:2", "x", codec="pcm_16")], "a:2"),
        ([row("a:1", "x", seconds=8.0), row("a:2", "x", seconds=9.0)], "a:2"),
        ([row("a:10", "x"), row("a:9", "x")], "a:9"),
        ([row("fma:1", "x"), row("freesound:1", "x")], "fma:1"),
    ],
)
def test_lossless_then_longest_then_lowest_id_stays(
    rows: list[tuple[str, str, str, str, str, float]], best: str
) -> None:
    found = find_duplicates(table(*rows))
    assert [group[0] for group in found.groups.values()] == [best]
    assert found.superfluous == [name for name, *_ in rows if name != best]


def test_groups_are_those_of_a_search_of_the_graph() -> None:
    random = np.random.default_rng(5)
    names = [f"a:{i}" for i in range(200)]
    links = [(int(i), int(j)) for i, j in random.integers(0, 200, (120, 2))]
    pairs = [FingerprintPair(names[i], names[j], 1.0) for i, j in links]
    found = find_duplicates(table(*(row(name, name) for name in names)), pairs)
    neighbors: dict[int, set[int]] = {i: set() for i in range(200)}
    for i, j in links:
        neighbors[i].add(j)
        neighbors[j].add(i)
    expected, seen = [], set[int]()
    for start in range(200):
        reached, todo = set[int](), [start]
        while todo:
            if (at := todo.pop()) not in reached:
                reached.add(at)
                todo += neighbors[at]
        if len(reached) > 1 and start not in seen:
            expected.append(sorted(names[i] for i in reached))
        seen |= reached
    assert sorted(sorted(group) for group in found.groups.values()) == sorted(expected)
    assert all(name in group for name, group in found.groups.items())


def test_the_command_counts_and_writes_groups(tmp_path: Path) -> None:
    probed = table(row("a:1", "x", codec="vorbis"), row("a:2", "x"), row("a:3", "z"))
    Store(tmp_path).append("probe", probed, "00000000")
    app = typer.Typer()
    register(app)
    name_options(app)
    arguments = ["duplicates", str(tmp_path), "-o", str(tmp_path / "groups.csv")]
    found = CliRunner().invoke(app, arguments)
    assert found.output.startswith("1 groups of 2 recordings\n1 would be removed")
    with (tmp_path / "groups.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["a:1", "a:2", "True"], ["a:1", "a:1", "False"]]

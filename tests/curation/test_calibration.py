"""Calibration: exact by the order statistic, with the bound, and the queries that need no sound."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from auralith.cli.curate.tagging import register
from auralith.cli.fields import name_options
from auralith.curation.store import Store
from auralith.curation.tagging.meter import (
    THRESHOLDS,
    TaggerFacts,
    calibrate,
    false_negative_bound,
    flagged_share,
    grid_threshold,
)
from auralith.errors import InvalidRequest

FACTS = TaggerFacts("stub", 32_000, 320_000, 320)


def tags(
    q: Sequence[float | None], status: list[str] | None = None, weights: list[str] | None = None
) -> pa.Table:
    count = len(q)
    return pa.table(
        {
            "rec_id": [f"fma:{i}" for i in range(count)],
            "status": status or ["ok"] * count,
            "q3000": pa.array(q, pa.float64()),
            "params_hash": ["h"] * count,
            "tagger": ["panns"] * count,
            "weights_sha256": weights or ["a"] * count,
            "class_set": ["subtree"] * count,
        }
    )


def curation(folder: Path, q: Sequence[float | None]) -> Path:
    Store(folder).append("tag", tags(q), "00000000")
    return folder


def test_the_command_prints_what_was_found(tmp_path: Path) -> None:
    known = curation(tmp_path / "known", [0.5, 0.26, None])
    target = curation(tmp_path / "target", [0.3, 0.2, 0.25, None])
    app = typer.Typer()
    register(app)
    name_options(app)
    found = CliRunner().invoke(app, ["calibrate", str(known), "--target", str(target)])
    assert found.exit_code == 0, found.output
    assert "lowest q    0.260000 (fma:1)" in found.output
    assert "threshold   0.25" in found.output
    assert "1 too short, 0 not tagged" in found.output
    assert "50.00% of" in found.output
    empty = CliRunner().invoke(app, ["calibrate", str(tmp_path / "none")])
    assert isinstance(empty.exception, InvalidRequest)


def test_it_recovers_a_planted_minimum() -> None:
    random = np.random.default_rng(0)
    q = random.uniform(0.4, 1, 1_000).tolist()
    q[617] = 0.37
    found = calibrate(tags(q))
    assert (found.num_tracks, found.lowest, found.lowest_rec_id) == (1_000, 0.37, "fma:617")
    assert found.threshold == 0.35
    assert found.false_negative_bound == pytest.approx(0.0030, abs=1e-4)


def test_the_threshold_misses_none_and_the_next_one_misses_some() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        m = np.sort(random.random((5, 3_500)).astype(np.float32) ** 0.5 * 0.9 + 0.1, axis=1)
        q = [float(track[::-1][2_999]) for track in m]
        threshold = calibrate(tags(q)).threshold
        assert threshold is not None

        def found(tau: float, m: np.ndarray = m) -> bool:
            return bool(((m >= np.float32(tau)).sum(axis=1) >= 3_000).all())

        assert found(threshold)
        assert not any(found(tau) for tau in THRESHOLDS if tau > threshold)


@pytest.mark.parametrize("tau", THRESHOLDS)
def test_a_minimum_on_the_grid_is_its_own_threshold(tau: float) -> None:
    assert grid_threshold(tau) == tau
    assert grid_threshold(float(np.float32(tau))) == tau  # as the tagger stores it
    assert grid_threshold(round(3 * 0.05, 20)) == 0.15
    below = grid_threshold(tau - 1e-6)
    assert below == (round(tau - 0.05, 2) if tau > 0.05 else None)


def test_a_grid_step_that_floor_would_miss() -> None:
    assert int(0.15 / 0.05) == 2
    assert grid_threshold(0.15) == 0.15


def test_short_tracks_and_errors_are_left_out_and_counted() -> None:
    q = [0.5, None, 0.01, 0.3]
    found = calibrate(tags(q, ["ok", "ok", "error", "ok"]))
    assert (found.num_tracks, found.num_short, found.num_failed) == (2, 1, 1)
    assert found.threshold == 0.3


def test_music_that_no_threshold_finds_is_said() -> None:
    assert calibrate(tags([0.9, 0.049])).threshold is None


@pytest.mark.parametrize(("count", "bound"), [(1, 0.95), (1_000, 0.0029912), (13_874, 0.0002159)])
def test_the_bound_is_that_of_the_binomial(count: int, bound: float) -> None:
    found = false_negative_bound(count)
    assert found == pytest.approx(bound, rel=1e-3)
    assert (1 - found) ** count == pytest.approx(0.05)


def test_nothing_to_calibrate_with_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="long enough"):
        calibrate(tags([None, None]))
    with pytest.raises(InvalidRequest, match="long enough"):
        calibrate(tags([]))


def test_mixed_settings_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="weights_sha256"):
        calibrate(tags([0.5, 0.5], weights=["a", "b"]))


def test_the_share_of_the_target_set() -> None:
    target = tags([0.2, 0.15, 0.149, None, 0.9], ["ok", "ok", "ok", "ok", "error"])
    assert flagged_share(target, 0.15) == 0.5
    with pytest.raises(InvalidRequest, match="target"):
        flagged_share(tags([0.5], ["error"]), 0.15)

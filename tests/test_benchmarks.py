"""The benchmarks run, and what they compare computes the same. No time is tested."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def measured(folder: Path, script: str, *options: str) -> Any:
    output = folder / "rows.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *options, "--rounds", "1", "--output", output],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(output.read_text())


def test_generation_is_compared_on_equal_results(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    rows = measured(
        tmp_path,
        *("generate.py", "--scale", "small", "--only", "step,decode", "--dtype", "float32"),
    )["rows"]
    compared = {(row["what"], row["latents"]): row for row in rows if "ratio" in row}
    assert list(compared) == [("step", 216), ("step", 1_024), ("decode", 128)]
    for row in compared.values():
        assert set(row["values"]) == {"auralith", "diffusers"}
        assert row["difference"] < 2e-4
        assert row["share_of_ceiling"] > 0


def test_training_is_compared_on_equal_losses(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    (row,) = measured(
        tmp_path,
        *("train_step.py", "--depth", "1", "--frames", "32", "--batch", "1"),
        *("--precision", "float32"),
    )
    assert set(row["seconds"]) == set(row["bytes"]) == {"auralith", "diffusers"}
    assert row["difference"] < 2e-3  # of the loss after an update


def test_the_clocks_of_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.metrics import frechet, search

    frechet(50, 8)
    search(3, 40, 16, 2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("50 × 8 frames: ") and second.startswith(
        "3 queries in 40 × 16, k = 2: "
    )

"""Two processes under gloo do what one does with the same global batch, replicated and sharded, also when resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auralith.errors import InvalidRequest
from auralith.training.loop import Run
from auralith.training.task import LoopSettings
from tests.training.test_loop import Regression

ROOT = Path(__file__).parents[2]


def processes(count: int, folder: Path, *flags: str) -> dict[str, Any]:
    result = folder.with_suffix(".json")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    command = [
        sys.executable,
        *launcher,
        "--module",
        "tests.training.worker",
        str(folder),
        str(result),
    ]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        launched = subprocess.Popen([*command, *flags], cwd=ROOT, env=environment, stderr=output)
        try:
            assert launched.wait(timeout=180) == 0, log.read_text()[-2_000:]
        finally:
            launched.terminate()  # and with it workers that hang
    return json.loads(result.read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return processes(1, tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return processes(2, tmp_path_factory.mktemp("replicated") / "run")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return processes(2, tmp_path_factory.mktemp("sharded") / "run", "shard")


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_two_processes_train_as_one(
    alone: dict[str, Any], kind: str, request: pytest.FixtureRequest
) -> None:
    together = request.getfixturevalue(kind)
    assert len(together["losses"]) == 10
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert together["weights"] == pytest.approx(alone["weights"], rel=1e-5)
    assert together["shapes"] == alone["shapes"]


def test_shards_resume_in_replicas(alone: dict[str, Any], tmp_path: Path) -> None:
    stopped = processes(2, tmp_path / "run", "shard", "stop")
    resumed = processes(2, tmp_path / "run")
    assert stopped["losses"][:5] + resumed["losses"] == pytest.approx(alone["losses"], rel=1e-5)


def test_a_signal_to_one_process_stops_and_saves_all(
    replicated: dict[str, Any], tmp_path: Path
) -> None:
    """One of them gets SIGTERM after step 6; what is trained after that is the same to the bit."""
    stopped = processes(2, tmp_path / "run", "terminated")
    assert stopped["losses"] == replicated["losses"][:6]
    resumed = processes(2, tmp_path / "run")
    assert resumed["losses"] == replicated["losses"][6:]
    assert resumed["weights"] == replicated["weights"]


def test_shards_need_several_processes(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="shard needs several processes"):
        Run(Regression(), LoopSettings(device="cpu", shard=True), tmp_path)


def test_a_slow_process_follows_the_first(tmp_path: Path) -> None:
    """The first process writes the state of step 0 before the second has looked for one."""
    together = processes(2, tmp_path / "run", "late")
    assert len(together["losses"]) == 10

"""Shared fixtures: golden tensors and the tiny reference checkpoints, loaded once.

Every process has one thread, also those that tests start, unless OMP_NUM_THREADS says otherwise: two tests run at a time,
and sums that are split over another number of threads end in other bits. Fuzzed tests draw the same examples each time, and take the time that a busy machine
takes; `pytest --hypothesis-profile=default` draws others.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import copy
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from safetensors.torch import load_file
from torch import Tensor

from auralith.checkpoints import Checkpoint, open_checkpoint
from auralith.families.model_config import config_from_json, config_to_json
from auralith.models import embedders
from auralith.pipeline import Auralith, load
from auralith.signals import ENDING
from tests.jobs.postgres import Cluster, cluster, find_programs
from tests.sa3 import SIZES, write_sa3

LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = count()
TINY_MODELS = ("sao_tiny", "sao_small_tiny")


def pytest_report_header() -> str:
    """Say on what the numbers of this run were computed, and how far it was limited."""
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    found = f"CPU: {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return ", ".join([found, *limits])


@pytest.fixture
def reference_frequencies(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Embed numbers with the frequencies that the reference had: other instruction sets round them otherwise."""
    frequencies = load_file(GOLDEN / "sa3" / "frequencies.safetensors")["frequencies"]
    monkeypatch.setattr(embedders, "geometric_frequencies", lambda count, device: frequencies)
    return frequencies


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest expected value."""
    difference = (found - expected).detach().abs().max()
    return float(difference / expected.abs().max().detach())


@pytest.fixture(scope="session", params=TINY_MODELS)
def tiny_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def golden(tiny_name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / tiny_name / "golden.safetensors")


@pytest.fixture(scope="session")
def checkpoint(tiny_name: str) -> Checkpoint:
    return open_tiny(tiny_name)


def open_tiny(name: str) -> Checkpoint:
    return open_checkpoint(GOLDEN / name, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL that runs."""
    if find_programs() is None or find_spec("psycopg") is None:
        pytest.skip("needs PostgreSQL's programs, as of Debian's postgresql, and psycopg")
    with cluster() as made:
        yield made


@pytest.fixture
def schema_url(postgres: Cluster) -> str:
    """The URL of a PostgreSQL whose tables are this test's alone."""
    schema = f"test_{next(SCHEMAS)}"
    postgres.run(f"CREATE SCHEMA {schema}")
    return postgres.url(schema)


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """Signals as in a terminal: under nohup, or in the background, some are ignored."""
    ignored = [number for number in ENDING if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def sa3_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the tiny checkpoints of Stable Audio 3 by size."""
    root = tmp_path_factory.mktemp("sa3")
    return {size: write_sa3(size, root / size) for size in SIZES}


@pytest.fixture(scope="session")
def sa3_models(sa3_folders: dict[str, Path]) -> dict[tuple[str, str], Auralith]:
    """Models by size and objective; the objectives differ in how they are sampled by default alone."""
    found = {}
    for size, folder in sa3_folders.items():
        model = load(folder, device="cpu", dtype="float32")
        data = config_to_json(model.config)
        data["model"]["diffusion"]["diffusion_objective"] = "rectified_flow"
        base = copy.copy(model)
        base.config = config_from_json(data)
        found[size, "rf_denoiser"], found[size, "rectified_flow"] = model, base
    return found


@pytest.fixture(scope="session")
def sa3_small(sa3_models: dict[tuple[str, str], Auralith]) -> Auralith:
    return sa3_models["small", "rf_denoiser"]

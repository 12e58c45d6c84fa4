"""Number formats by hardware: one question, asked by generation, training and planning alike."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from auralith import resources
from auralith.cli.main import run
from auralith.errors import InvalidRequest
from auralith.pipeline import load
from auralith.resources import choose_dtype, cpu_has_bfloat16
from auralith.training.finetune import FinetuneSettings, memory_settings
from auralith.training.loop import Run, train
from auralith.training.plan import MemorySettings, budget, remedies
from auralith.training.processes import choose_precision
from auralith.training.scratch import AutoencoderRecipe, TransformerRecipe
from auralith.training.task import LoopSettings
from recipes.tiny import stages as tiny
from tests.conftest import GOLDEN
from tests.training.test_loop import Regression

CPU = torch.device("cpu")
FORMATS = {True: "bfloat16", False: "float32"}


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether the CPU computes with bfloat16, as far as anyone who asks is told."""
    monkeypatch.setattr(resources, "cpu_has_bfloat16", lambda: request.param)
    resources._warn_of_slow_bfloat16.cache_clear()
    yield request.param
    resources._warn_of_slow_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx avx2 fma", False),
        ("avx2 avx512f avx512bw avx512_vnni", False),
        ("avx2 avx512f avx512_bf16", True),
        ("avx512f amx_bf16 amx_tile", True),
        ("fp asimd bf16", True),
    ],
)
def test_the_flags_of_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags: {flags}\n")
    monkeypatch.setattr(resources, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert cpu_has_bfloat16() is expected


def test_a_system_that_does_not_list_its_flags_has_no_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "CPU_INFO", tmp_path / "cpuinfo")
    assert not cpu_has_bfloat16()


def test_generation(native: bool) -> None:
    assert str(load(GOLDEN / "sao_tiny", device="cpu").dtype) == f"torch.{FORMATS[native]}"


def test_a_training_run(native: bool, tmp_path: Path) -> None:
    computed: list[torch.dtype] = []
    task = Regression()
    task.networks["negator"].register_forward_hook(lambda *seen: computed.append(seen[2].dtype))
    made = Run(task, LoopSettings(steps=1, device="cpu", ema="off"), tmp_path)
    list(train(made))
    assert computed[0] is getattr(torch, FORMATS[native])
    assert json.loads((tmp_path / "run.json").read_text())["loop.precision"] == FORMATS[native]


def test_a_run_is_not_resumed_in_another_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LoopSettings(steps=1, device="cpu")
    for native in (True, False):
        monkeypatch.setattr(resources, "cpu_has_bfloat16", lambda native=native: native)
        if native:
            list(train(Run(Regression(), settings, tmp_path)))
    with pytest.raises(InvalidRequest, match="precision"):
        Run(Regression(), settings, tmp_path)


def test_every_recipe(native: bool) -> None:
    small = tiny.Recipe()
    loops = [
        FinetuneSettings().loop,
        AutoencoderRecipe().loop,
        TransformerRecipe().training.loop,
        *(small.text_loop, small.autoencoder_loop, small.dit_loop),
    ]
    assert {loop.precision for loop in loops} == {"auto"}
    cpu = LoopSettings(device="cpu")
    assert cpu.chosen_precision == FORMATS[native]
    assert memory_settings(FinetuneSettings(loop=cpu)).precision == FORMATS[native]


def test_the_memory_plan(native: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(GOLDEN / "sao_tiny"), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["precision"] == FORMATS[native]
    assert run(["plan", str(GOLDEN / "sao_tiny"), "--memory", "24", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["precision"] == "bfloat16"
    config = load(GOLDEN / "sao_tiny", device="cpu").config
    wanted = MemorySettings(precision="float32", batch_size=64)
    advice = remedies(config, wanted, round(0.95 * budget(config, wanted, CPU).peak), CPU)
    assert advice and ("--precision bfloat16" in advice) is native


def test_bfloat16_that_was_asked_for_is_taken_and_said_to_be_slow(
    native: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert choose_dtype("bfloat16", CPU) is torch.bfloat16
    assert LoopSettings(device="cpu", precision="bfloat16").chosen_precision == "bfloat16"
    assert (
        [r.getMessage() for r in caplog.records] == []
        if native
        else ["bfloat16 is slow on this CPU, which has no instructions for it; use float32"]
    )


@pytest.mark.parametrize("name", ["auto", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("capable", [True, False], ids=["Ampere", "Turing"])
def test_an_accelerator_does_not_depend_on_the_cpu(
    native: bool,
    name: str,
    capable: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capable)
    auto = torch.bfloat16 if capable else torch.float32
    assert choose_dtype(name, torch.device("cuda")) is (
        auto if name == "auto" else getattr(torch, name)
    )
    warned = [r.getMessage() for r in caplog.records]
    assert ("bfloat16 is slow on this GPU" in " ".join(warned)) is (
        name == "bfloat16" and not capable
    )


def test_float16_needs_cuda() -> None:
    with pytest.raises(InvalidRequest, match=r"float16 .* use float32 or bfloat16"):
        choose_precision("float16", CPU)


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(1 << 58),
        lambda: np.empty(1 << 58, np.uint8),
        lambda: bytes(1 << 58),
    ],
    ids=["torch", "numpy", "python"],
)
def test_a_lack_of_memory_is_one_line(
    allocate: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("auralith.pipeline.load", lambda *_, **__: allocate())
    assert run(["generate", "rain"]) == 2
    assert capsys.readouterr().err.startswith("auralith: error: out of memory; make fewer")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), RecursionError("too deep")])
def test_other_errors_of_the_libraries_are_defects(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("auralith.pipeline.load", load)
    with pytest.raises(type(error)):
        run(["generate", "rain"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they do")
def test_large_blocks_are_given_back() -> None:
    """Of blocks that are freed beside ones that stay, in a process of its own: nothing of them is kept."""
    program = """
import torch
from auralith.resources import give_large_blocks_back

def resident():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))

give_large_blocks_back()
torch.ones(31 * 2**18).sum()  # glibc raises its limit when a block is freed
before = resident()
blocks, kept = [], []
for _ in range(4):
    blocks.append(torch.ones(20 * 2**18))
    kept.append(torch.ones(2**16))
del blocks
print(resident() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 20 * 2**20

"""What torch compiles equals the network as it is written, to rounding, for every length; without a compiler one line says so.

Compiling happens in one process of its own, where no call is checked for its shapes.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from auralith import GenerationRequest, load
from auralith.cli.main import run
from auralith.errors import InvalidRequest, ResourceError
from auralith.models.compiled import VARIABLE, compiled_folder
from auralith.provenance import read_provenance
from tests.conftest import GOLDEN

TINY = GOLDEN / "sao_tiny"
SHORT = GenerationRequest("rain", seconds_total=0.05, steps=2, seed=0)
QUICK = {"TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
"""Settings of torch with which little code is compiled sooner."""
PROGRAM = """
import json, sys
import torch
from auralith import GenerationRequest, load
from torch._dynamo.utils import counters

folder, dtype, threshold = sys.argv[1], sys.argv[2], float(sys.argv[3])
exact = load(folder, device="cpu", dtype="float32")
plain, compiled = (load(folder, device="cpu", dtype=dtype, compile=c) for c in ("off", "on"))
graphs = counters["stats"]["unique_graphs"]
found = []
for frames in (5, 8, 13):
    seconds = plain.config.audio.seconds(frames * plain.config.audio.samples_per_frame)
    request = GenerationRequest(
        "rain", seconds_total=seconds, steps=4, seed=frames, window="fit", cache_threshold=threshold
    )
    expected, written, fused = (model.denoise([request]) for model in (exact, plain, compiled))
    found.append([float((other - expected).norm() / expected.norm()) for other in (written, fused)])
more, breaks = counters["stats"]["unique_graphs"] - graphs, dict(counters["graph_break"])
print(json.dumps({"errors": found, "graphs": graphs, "more": more, "breaks": breaks}))
"""


def compiled_errors(
    cache: Path, model: Path, dtype: str, threshold: float = 0.0
) -> list[tuple[float, float]]:
    """Return the errors of three lengths in a number format, relative to float32: as written, and compiled."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model), dtype, str(threshold)],
        env=os.environ | {VARIABLE: str(cache)} | QUICK,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    assert found["graphs"] > 0 and found["more"] == 0 and not found["breaks"]
    return found["errors"]


@pytest.fixture(params=["1.0", "3 medium"])
def model(request: pytest.FixtureRequest, sa3_folders: dict[str, Path]) -> Path:
    return TINY if request.param == "1.0" else sa3_folders["medium"]


@pytest.mark.slow  # half a minute of compiling each
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_it_equals_the_network_as_written_for_every_length(
    tmp_path: Path, model: Path, threshold: float
) -> None:
    # four steps guided by 7, each of a few hundred sums: their rounding is 1e-6 of what they sum
    assert max(fused for _, fused in compiled_errors(tmp_path, model, "float32", threshold)) < 1e-4
    assert any(tmp_path.rglob("*.so")), "what was compiled is kept"


@pytest.mark.slow
def test_in_bfloat16_it_is_as_near_to_float32_as_the_network_as_written(
    tmp_path: Path, model: Path
) -> None:
    """What is fused isn't rounded in between, so the two differ by their rounding, and neither is nearer by much."""
    for written, fused in compiled_errors(tmp_path, model, "bfloat16"):
        assert fused < 1.5 * written + 1e-3


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


def test_without_a_compiler_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_compiler(monkeypatch)
    with pytest.raises(ResourceError, match="C\\+\\+ compiler, and no-such-compiler is not there"):
        load(TINY, device="cpu", compile="on")
    out = tmp_path / "a.wav"
    command = ["generate", "rain", "--model", str(TINY), "--compile", "on", "-o", str(out)]
    assert run(command) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert "no-such-compiler is not there" in line and not out.exists()


def test_only_who_agreed_goes_on_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    without_compiler(monkeypatch)
    with caplog.at_level(logging.WARNING):
        model = load(TINY, device="cpu", dtype="float32", compile="auto")
    (record,) = [r for r in caplog.records if "without compiling" in r.getMessage()]
    assert "\n" not in record.getMessage()
    sound = model.generate(SHORT)
    plain = load(TINY, device="cpu", dtype="float32").generate(SHORT)
    assert torch.equal(torch.as_tensor(sound.waveform), torch.as_tensor(plain.waveform))
    sound.save(tmp_path / "a.wav")
    assert not read_provenance(tmp_path / "a.wav").compiled


def test_int8_and_unknown_choices_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="compile is for floats"):
        load(TINY, device="cpu", dtype="int8", compile="on")
    with pytest.raises(InvalidRequest, match="compile 'always' is unknown; use off, auto or on"):
        load(TINY, device="cpu", compile="always")


def test_its_folder_is_one_of_the_users_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert compiled_folder() == tmp_path / "auralith" / "compiled"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    assert compiled_folder() == tmp_path / "other"

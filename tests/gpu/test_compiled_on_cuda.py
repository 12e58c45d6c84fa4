"""What torch compiles for a GPU equals the network as it is written, to the rounding of each number format."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import GOLDEN

PROGRAM = """
import json, sys
from auralith import GenerationRequest, load

found = {}
for dtype in ("float32", "bfloat16"):
    plain, compiled = (load(sys.argv[1], device="cuda", dtype=dtype, compile=c) for c in ("off", "on"))
    request = GenerationRequest("rain", seconds_total=0.2, steps=4, seed=0, window="fit")
    expected, other = (model.denoise([request]).float() for model in (plain, compiled))
    found[dtype] = float((other - expected).norm() / expected.norm())
print(json.dumps(found))
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_compiled_on_cuda(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(GOLDEN / "sao_tiny")],
        env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    assert found["float32"] < 1e-3 and found["bfloat16"] < 0.1

"""Loading takes little more memory than the loaded weights do."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from auralith.checkpoints import Spec, save_single_file
from auralith.config import DiTConfig, ModelConfig, OobleckConfig
from auralith.families.registry import Networks
from tests.conftest import GOLDEN

# Opens a checkpoint, touches every value, prints the peak over the start and the size of the weights in bytes.
MEASURE = """
import sys, torch
from pathlib import Path
from auralith.checkpoints import open_checkpoint

def kilobytes(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key + ":"))

def opened(source):
    checkpoint = open_checkpoint(source, device=torch.device("cpu"), dtype=torch.float32, text_encoder=t5)
    parts = (checkpoint.dit, checkpoint.numbers, checkpoint.autoencoder)
    tensors = [t for part in parts for t in part.state_dict().values()]
    assert all(float(t.sum()) == float(t.sum()) for t in tensors)
    return sum(t.nbytes for t in tensors)

tiny, t5, source = map(Path, sys.argv[1:])
opened(tiny)  # imports everything
Path("/proc/self/clear_refs").write_text("5")  # resets the peak
before = kilobytes("VmRSS")
size = opened(source)
print((kilobytes("VmHWM") - before) * 1024, size)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_peak_memory_of_loading(tmp_path: Path, stored: torch.dtype) -> None:
    config = ModelConfig(
        autoencoder=OobleckConfig(encoder_width=32, decoder_width=32),
        dit=DiTConfig(embed_dim=512, depth=10, num_heads=8, context_dim=64, global_dim=128),
        condition_dim=64,
    )
    networks = Networks(Spec.of(config))
    save_single_file(
        tmp_path,
        config,
        dit=networks.dit.state_dict(),
        numbers=networks.numbers.state_dict(),
        autoencoder=networks.autoencoder.state_dict(),
        dtype=stored,
    )
    del networks
    arguments = [GOLDEN / "sao_tiny", GOLDEN / "sao_tiny/t5", tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    peak, size = map(int, done.stdout.split())
    assert size > 150e6
    assert peak <= 1.15 * size

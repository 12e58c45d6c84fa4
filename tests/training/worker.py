"""One process of a run on several, started by torchrun: python worker.py FOLDER RESULT [shard] [stop] [late] [terminated]."""

import gc
import json
import signal
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from auralith.errors import Interrupted
from auralith.training.loop import Run, train
from auralith.training.optimizers import OptimizerSettings
from auralith.training.processes import leave_processes
from auralith.training.task import LoopSettings
from tests.training.test_loop import Regression


def main(folder: str, result: str, *flags: str) -> "weakref.ref[nn.Module]":
    """The network as the processes share it, which must be gone then."""
    torch.set_num_threads(1)
    task = Regression()
    # Muon needs whole matrices, which shards are not
    task.optimization = {"negator": OptimizerSettings(learning_rate=0.02, schedule="constant")}
    settings = LoopSettings(
        steps=10, save_every=5, precision="float32", device="cpu", shard="shard" in flags
    )
    run = Run(task, settings, Path(folder))
    run.journal.draw = lambda: False  # curves are most of a short run's time
    if "late" in flags and not run.accelerator.is_main_process:
        time.sleep(2)
    losses = []
    with suppress(Interrupted):
        for progress in train(run):
            losses.append(progress.losses["error"])
            if progress.step == 7 and "stop" in flags:
                break
            if progress.step == 6 and "terminated" in flags:
                _terminate_one(run)
    state = run.averaged_state()
    if run.accelerator.is_main_process:
        total = float(sum(value.double().abs().sum() for value in state.values()))
        data = {
            "losses": losses,
            "weights": total,
            "shapes": [list(v.shape) for v in state.values()],
        }
        Path(result).write_text(json.dumps(data))
    return weakref.ref(run.networks["negator"])


def _terminate_one(run: Run) -> None:
    if not run.accelerator.is_main_process:
        signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    shared = main(*sys.argv[1:])
    gc.collect()
    assert shared() is None, "the group of processes would be freed by who must not"
    leave_processes()

"""A guided step of the published width in torch, OpenVINO and ONNX Runtime, in turns: float32, and OpenVINO in int8.

Seconds of CPU show what other work on the machine hides. Weights are random; the blocks are alike, so a few stand for all.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import torch
import typer
from torch import Tensor

from auralith.config import DiTConfig
from auralith.exporting.calibration import quantized
from auralith.exporting.graphs import PREPARED
from auralith.exporting.writing import write_graph
from auralith.exports.openvino import compiled, read_graph, save_graph
from auralith.models.dit import DiT

CONTEXT_TOKENS, WINDOW = 130, 1_024
CALIBRATION = 4


def onnx_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Return a session of ONNX Runtime with so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options)


def seconds(task: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of CPU and on the clock."""
    before = time.process_time(), time.perf_counter()
    task()
    return time.process_time() - before[0], time.perf_counter() - before[1]


def main(
    latents: Annotated[int, typer.Option(min=2, max=WINDOW, help="Latent frames.")] = 216,
    depth: Annotated[int, typer.Option(min=1, help="Blocks.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Steps of each after the first.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = 1,
) -> None:
    """Print the median seconds of a step, its share of torch's, and the relative difference of its result."""
    torch.set_num_threads(threads)
    config = DiTConfig(depth=depth)
    torch.manual_seed(0)
    dit = DiT(config).eval()
    _, graph = PREPARED[DiT](dit, WINDOW)
    sizes = {"batch": 2, "context_row": 1, "token": CONTEXT_TOKENS, "frame": latents}
    inputs = graph.example(sizes)
    feed = {port.name: t.numpy() for port, t in zip(graph.inputs, inputs, strict=True)}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / write_graph(graph, Path(name), "onnx").file
        network, session = compiled(path), onnx_session(path, threads)
        calibration = [graph.example(sizes, seed) for seed in range(1, 1 + CALIBRATION)]
        save_graph(quantized(read_graph(path), calibration), path.with_suffix(".xml"))
        in_int8 = compiled(path.with_suffix(".xml"))
        runs: dict[str, Callable[[], Tensor]] = {
            "torch": lambda: graph.module(*inputs),
            "openvino": lambda: network(*inputs)[0],
            "in int8": lambda: in_int8(*inputs)[0],
            "onnxruntime": lambda: torch.from_numpy(np.asarray(session.run(None, feed)[0])),
        }
        with torch.inference_mode():
            results = {name: run() for name, run in runs.items()}
            taken = [{name: seconds(run) for name, run in runs.items()} for _ in range(rounds)]
    peak = results["torch"].abs().max()
    for name, result in results.items():
        cpu, clock = (statistics.median(each[name][place] for each in taken) for place in (0, 1))
        share = statistics.median(each[name][0] / each["torch"][0] for each in taken)
        difference = float((result - results["torch"]).abs().max() / peak)
        print(
            f"{name:12} {cpu:.3f} s of CPU, {clock:.3f} s, {share:.3f} of torch, {difference:.1e}"
        )


if __name__ == "__main__":
    typer.run(main)

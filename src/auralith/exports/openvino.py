"""OpenVINO: graphs read, written and computed on a CPU, in float32 also where the CPU would rather compute in bfloat16."""

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from auralith.errors import CheckpointError
from auralith.extras import require

EXTRA, TELEMETRY = "export", "openvino_telemetry"


def library() -> Any:
    """Return OpenVINO. Raises MissingExtra."""
    return imported("openvino", EXTRA)


def imported(module: str, extra: str) -> Any:
    """Return a library that tells its makers of every import unless its module for that can't be imported.

    Raises MissingExtra.
    """
    if TELEMETRY in sys.modules:
        return require(module, extra)
    sys.modules[TELEMETRY] = None  # pyright: ignore[reportArgumentType] - makes an import fail
    try:
        return require(module, extra)
    finally:
        del sys.modules[TELEMETRY]


@lru_cache(maxsize=1)
def _runtime(openvino: Any) -> Any:
    """Return the one runtime of the process, which lives as long.

    It gives the thread that loads it another stack for signal handlers, and takes that away when it is freed: if another
    thread frees it, the next Ctrl-C ends in a segmentation fault.
    """
    return openvino.Core()


def read_graph(path: Path) -> Any:
    """Return the graph in an ONNX file or in OpenVINO's format. Raises CheckpointError if it can't be read."""
    try:
        return _runtime(library()).read_model(path)
    except RuntimeError as error:
        raise _unusable(path, error) from None


def save_graph(graph: Any, path: Path) -> None:
    """Write a graph as `path` (.xml) with its weights beside it (.bin), in their own number format."""
    library().save_model(graph, path, compress_to_fp16=False)


def compiled(path: Path) -> "CompiledGraph":
    """Return the network in a file. Raises CheckpointError if it can't be read."""
    graph = read_graph(path)
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
    try:
        network = _runtime(library()).compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise _unusable(path, error) from None
    # weights may lie beside the graph
    files = {path.with_suffix(".bin"), *path.parent.glob(f"{path.name}*")}
    return CompiledGraph(network, sum(file.stat().st_size for file in files if file.is_file()))


def _unusable(path: Path, error: RuntimeError) -> CheckpointError:
    reason = " ".join(str(error).split())
    return CheckpointError(f"OpenVINO can't read {path} ({reason:.160}); export the model again")


class CompiledGraph(nn.Module):
    """A graph as a network from tensors to tensors, on a CPU, which is not trained. `num_bytes` are those of its files."""

    def __init__(self, network: Any, num_bytes: int) -> None:
        super().__init__()
        self.network, self.num_bytes = network, num_bytes
        # says where the network computes, and in what, as weights do
        self.weight = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, *inputs: Shaped[Tensor, "..."]) -> tuple[Tensor, ...]:
        """Return the outputs for the inputs in their order, in memory of their own."""
        arrays = [values.detach().contiguous().numpy() for values in inputs]
        found = self.network(arrays, share_inputs=True)
        return tuple(torch.from_numpy(found[port]) for port in self.network.outputs)

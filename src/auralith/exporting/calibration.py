"""The step in int8: OpenVINO's graph, quantized by NNCF on what runs of the model itself feed it.

Quantized are the products with weights in the blocks, weights per channel. In floats stay the first and the last product
over frames, whose errors go straight into the latents, those of the timestep, and those within attention, which have no
weights (`models.quantized.FLOAT_LAYERS`).
"""

import io
import logging
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auralith.errors import CheckpointError, InvalidRequest
from auralith.exports.manifest import Manifest
from auralith.exports.openvino import CompiledGraph, compiled, imported, read_graph, save_graph
from auralith.exports.ports import STEP
from auralith.exports.running import ExportedTransformer, open_export
from auralith.pipeline import Auralith
from auralith.request import GenerationRequest
from auralith.resources import NumberFormat

EXTRA = "export-int8"
PROMPTS = (
    "a drum loop at 120 bpm",
    "a piano playing a slow melody",
    "rain on a tin roof",
    "a dog barking in the distance",
    "a warm synthesizer pad",
    "footsteps on gravel",
)
"""The model runs on these unless others are given; the last one only measures what was lost."""
SECONDS = 10.0
"""Length of the runs, or the most that the model makes at once."""
STEPS = 8
PRODUCTS = ("MatMul", "Convolution")
TOLERANCE = 0.1
"""Largest error of a step, relative to the step in float32 (L2), that is written."""
Inputs = tuple[Tensor, ...]
Shown = Callable[[int, int], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """A step in float32: what it is given, and the velocity."""

    inputs: Inputs
    output: Tensor


def in_int8(folder: Path, manifest: Manifest, prompts: Sequence[str], show: Shown) -> Manifest:
    """Quantize the step of an export in place, and return the manifest that its folder should have.

    The model runs on all prompts; the last one's steps measure the error. `show` is told how many runs are done, of
    how many.

    Raises:
        CheckpointError: the quantized step is further from the exact one than `TOLERANCE`.
        MissingExtra: nncf is not installed.
    """
    runs = _runs(folder, prompts, show)
    path = folder / manifest.graphs[STEP].file
    seen = [step.inputs for run in runs[:-1] for step in run]
    _overwrite(path, quantized(read_graph(path), seen))
    found = compiled(path)
    error = max(_error(found(*step.inputs)[0], step.output) for step in runs[-1])
    log.debug("the step in int8 differs by %.1e", error)
    if not error <= TOLERANCE:
        raise CheckpointError(
            f"in int8 a step differs by {error:.1%} from the exact one, more than {TOLERANCE:.0%}; nothing was written; "
            "leave --quantize out"
        )
    step = replace(manifest.graphs[STEP], numbers="int8", difference=error)
    return replace(manifest, graphs={**manifest.graphs, STEP: step})


def require_calibration(prompts: Sequence[str]) -> None:
    """Raise InvalidRequest, or MissingExtra, unless a model can be quantized on these prompts."""
    if len(prompts) < 2:
        raise InvalidRequest(
            f"int8 takes two prompts or more, of which the last measures the error, not {len(prompts)}"
        )
    imported("nncf", EXTRA)


def _runs(folder: Path, prompts: Sequence[str], show: Shown) -> list[list[Evaluation]]:
    checkpoint, floats = open_export(folder), NumberFormat(torch.float32)
    model = Auralith(checkpoint, folder.name, torch.device("cpu"), floats)
    runs = []
    for done, prompt in enumerate(prompts):
        show(done, len(prompts))
        runs.append(recorded(model, prompt))
    show(len(prompts), len(prompts))
    return runs


class _Recorder(CompiledGraph):
    """A graph that keeps what it is given and what it makes of it."""

    def __init__(self, graph: CompiledGraph) -> None:
        super().__init__(graph.network, graph.num_bytes)
        self.seen: list[Evaluation] = []

    def forward(self, *inputs: Tensor) -> Inputs:
        # the first two change from step to step, in place with some samplers; the others stay
        latents, t, *shared = inputs
        given = (latents.clone(), t.clone(), *shared)
        made = super().forward(*inputs)
        self.seen.append(Evaluation(given, made[0].clone()))
        return made


def recorded(model: Auralith, prompt: str) -> list[Evaluation]:
    """Return the evaluations of an export's step on the way to a sound."""
    assert isinstance(model.dit, ExportedTransformer)
    recorder = _Recorder(model.dit.step_graph)
    model.dit.step_graph, before = recorder, model.dit.step_graph
    request = model.resolve(GenerationRequest(prompt, steps=STEPS, seed=0))
    seconds = min(SECONDS, request.seconds_total or SECONDS)
    try:
        model.denoise([replace(request, seconds_total=seconds, seconds_output=seconds)])
    finally:
        model.dit.step_graph = before
    return recorder.seen


def quantized(graph: Any, seen: Sequence[Inputs]) -> Any:
    """Return a graph of the step with the products of its blocks in int8. Raises MissingExtra."""
    nncf = imported("nncf", EXTRA)
    names = [port.any_name for port in graph.inputs]
    samples = [{n: t.numpy() for n, t in zip(names, inputs, strict=True)} for inputs in seen]
    products = [node for node in graph.get_ordered_ops() if node.get_type_name() in PRODUCTS]
    kept = {node.get_friendly_name() for node in products} - set(block_products(graph))
    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(io.StringIO()):  # it shows bars of its own
        return nncf.quantize(
            graph,
            nncf.Dataset(samples),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=sorted(kept)),
        )


def block_products(graph: Any) -> list[str]:
    """Return the names of a step's products that go into int8."""
    products = [node for node in graph.get_ordered_ops() if node.get_type_name() == "MatMul"]
    over_frames = [node for node in products if _has_weights(node) and _is_over_frames(node)]
    return [node.get_friendly_name() for node in over_frames[1:-1]]


def _has_weights(product: Any) -> bool:
    return product.input_value(1).get_node().get_type_name() == "Constant"


def _is_over_frames(product: Any) -> bool:
    """Return whether a product is of every frame of a batch, as those of the timestep are not."""
    return product.input(0).get_partial_shape().rank == 3


def _overwrite(path: Path, graph: Any) -> None:
    """Write a graph in place of one whose weights may be read from its file still."""
    folder = path.parent / "quantized"
    folder.mkdir()
    save_graph(graph, folder / path.name)
    for made in sorted(folder.iterdir()):
        made.replace(path.parent / made.name)
    folder.rmdir()


def _error(found: Tensor, exact: Tensor) -> float:
    """Return the relative error (L2)."""
    return float((found - exact).norm() / exact.norm())

"""A model's graphs as files: exported by torch as ONNX, from which OpenVINO's own format is made.

Every graph is computed once more from its file, on an input of other sizes than it was made with, and compared with
torch. So an export that computes something else is never written.
"""

import copy
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auralith.checkpoints import Checkpoint, locate, open_located
from auralith.checkpoints.attribution import carry_attribution
from auralith.checkpoints.choosing import FOUND, Files
from auralith.checkpoints.quantization import require_floats
from auralith.errors import CheckpointError, Field, InvalidRequest, shown
from auralith.exporting.calibration import PROMPTS, Shown, in_int8, require_calibration
from auralith.exporting.graphs import Graph, graphs_of
from auralith.exports.manifest import (
    REST,
    SUFFIXES,
    TOKENIZER,
    Manifest,
    StoredGraph,
    Target,
    write_manifest,
)
from auralith.exports.openvino import EXTRA, compiled, library, read_graph, save_graph
from auralith.exports.running import is_in_graph
from auralith.extras import require
from auralith.files import whole_folder
from auralith.models.lazy_tensor import weights_of
from auralith.tensor_files import write_safetensors
from auralith.text.tokenizer import FastTokenizer

TOLERANCE = 1e-4
"""Largest difference from torch, relative to the largest value, that a graph may have wherever torch is exact."""
OWN_ERRORS = 8.0
"""As many of torch's own errors a graph may be away where that is more: some weights amplify every rounding."""
MADE_WITH = {"batch": 4, "context_row": 2, "token": 5, "frame": 12, "position": 12}
"""Sizes of the inputs that a graph is traced with: all above 1, where torch would take a size for fixed."""
CHECKED_WITH = {"batch": 3, "context_row": 3, "token": 7, "frame": 9, "position": 1}
INLINE_BYTES = 2**30
"""Weights beyond so many bytes lie beside an ONNX file, which can't hold more than 2 GiB."""
log = logging.getLogger(__name__)


def export(
    source: str | Path,
    out: str | Path,
    to: Target,
    *,
    quantize: Literal["int8"] | None = None,
    calibration: Sequence[str] = PROMPTS,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
    show: Shown = lambda done, total: None,
) -> Manifest:
    """Write a model's graphs in float32 into the new folder `out`, with tokenizer and manifest, and return the manifest.

    The encoder of the autoencoder and the networks of the conditions come along as weights. With `quantize` the large
    products of `step` are in int8, scaled by what the model computes on the prompts of `calibration`; `show` is told
    how many of these are done, of how many. `out` appears whole or not at all.

    Raises:
        CheckpointError: the model can't be opened or exported, or there is something under `out` already.
        InvalidRequest: the target is unknown or can't be quantized, or there are fewer than two prompts.
        MissingExtra: onnx, onnxscript, openvino or, to quantize, nncf is not installed.
    """
    _check(to, quantize, calibration)
    library()
    for name in ("onnx", "onnxscript"):
        require(name, EXTRA)
    with whole_folder(out) as folder:
        checkpoint = _open(source, text_encoder, files)
        graphs = {graph.name: write_graph(graph, folder, to) for graph in graphs_of(checkpoint)}
        manifest = _manifest(checkpoint, to, graphs)
        _write_rest(checkpoint, folder)
        carry_attribution(checkpoint.folder, folder)
        write_manifest(folder, manifest)
        if quantize:
            manifest = in_int8(folder, manifest, calibration, show)
            write_manifest(folder, manifest)
    return manifest


def _check(to: str, quantize: str | None, calibration: Sequence[str]) -> None:
    if to not in SUFFIXES:
        raise InvalidRequest(Field("to"), f" {shown(to)} is unknown; use {' or '.join(SUFFIXES)}")
    if quantize is None:
        return
    if quantize != "int8":
        raise InvalidRequest(Field("quantize"), f" {shown(quantize)} is unknown; use int8")
    if to != "openvino":
        raise InvalidRequest(
            Field("quantize"), f" makes graphs for OpenVINO alone, not for {to}; use --to openvino"
        )
    require_calibration(calibration)


def _open(source: str | Path, text_encoder: str | Path | None, files: Files) -> Checkpoint:
    raw = locate(source, with_text_encoder=text_encoder is None, files=files)
    require_floats(raw.source, raw.weights, "exporting")
    return open_located(
        raw,
        device=torch.device("cpu"),
        dtype=torch.float32,
        text_encoder=text_encoder,
        files=files,
    )


def _manifest(checkpoint: Checkpoint, to: Target, graphs: Mapping[str, StoredGraph]) -> Manifest:
    tokenizer = checkpoint.text.tokenizer
    assert isinstance(tokenizer, FastTokenizer)
    return Manifest(
        target=to,
        source=Path(checkpoint.source).name,
        source_hash=checkpoint.model_hash,
        config=checkpoint.config,
        states_width=checkpoint.text.width,
        vocabulary=checkpoint.text.model.embedding.num_embeddings,
        has_special_tokens=tokenizer.has_special_tokens,
        graphs=graphs,
    )


def _write_rest(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the weights that torch computes with beside the graphs, and the tokenizer."""
    parts = nn.ModuleDict({"autoencoder": checkpoint.autoencoder, "numbers": checkpoint.numbers})
    rest = {n: t for n, t in parts.state_dict().items() if not is_in_graph(n)}
    write_safetensors(folder / REST, weights_of(rest))
    tokenizer = checkpoint.text.tokenizer
    assert isinstance(tokenizer, FastTokenizer)
    (folder / TOKENIZER).mkdir()
    tokenizer.save(folder / TOKENIZER)


def write_graph(graph: Graph, folder: Path, to: Target) -> StoredGraph:
    """Write a graph into a folder, with its weights. Raises CheckpointError if its file computes something else."""
    inputs = graph.example(MADE_WITH)
    graph.module.eval()
    with torch.no_grad():
        program = _traced(graph, inputs)
    _name_axes(program, graph)
    path = folder / f"{graph.name}.onnx"
    size = sum(t.nbytes for t in graph.module.state_dict().values())
    program.save(path, external_data=size > INLINE_BYTES)
    file = path.with_suffix(SUFFIXES[to])
    if to == "openvino":
        save_graph(read_graph(path), file)
        for made in folder.glob(f"{path.name}*"):
            made.unlink()
    difference = _difference(graph, file)
    log.debug("the graph %s differs from torch by %.1e", graph.name, difference)
    most = TOLERANCE if difference <= TOLERANCE else max(TOLERANCE, OWN_ERRORS * _own_error(graph))
    if not difference <= most:  # NaN, too
        raise CheckpointError(
            f"the graph {graph.name} differs from torch by {difference:.1e} of its largest value, more than "
            f"{most:.0e}; nothing was written; try other versions of onnxscript and openvino"
        )
    return StoredGraph(file.name, graph.inputs, graph.outputs, difference)


def _traced(graph: Graph, inputs: tuple[Tensor, ...]) -> Any:
    """Return the ONNX program of a graph, for any sizes of its named axes."""
    any_size = torch.export.Dim.DYNAMIC
    shapes = [
        {place: any_size for place, axis in enumerate(port.axes) if isinstance(axis, str)}
        for port in graph.inputs
    ]
    with _quiet():
        program = torch.onnx.export(
            graph.module,
            inputs,
            dynamo=True,
            verbose=False,
            input_names=[port.name for port in graph.inputs],
            output_names=[port.name for port in graph.outputs],
            dynamic_shapes=_by_argument(graph, shapes),
        )
    assert program is not None
    return program


def _by_argument(graph: Graph, shapes: Sequence[Any]) -> Any:
    """Return the shapes as torch wants them for a network with a variable number of arguments."""
    kinds = [one.kind for one in signature(graph.module.forward).parameters.values()]
    fixed = sum(kind is not Parameter.VAR_POSITIONAL for kind in kinds)
    return (*shapes[:fixed], tuple(shapes[fixed:])) if len(kinds) > fixed else tuple(shapes)


def _name_axes(program: Any, graph: Graph) -> None:
    """Give axes their names in place of those that torch made up."""
    from onnx_ir import Shape

    model = program.model.graph
    for value, port in zip(model.inputs, graph.inputs, strict=True):
        value.shape = Shape(port.axes)
    for value, port in zip(model.outputs, graph.outputs, strict=True):
        value.shape = Shape(port.axes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from telling of libraries that it would like to have."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _difference(graph: Graph, file: Path) -> float:
    """Return how far the file is from torch."""
    inputs = graph.example(CHECKED_WITH, seed=1)
    return _distance(_computed(graph.module, inputs), compiled(file)(*inputs))


def _own_error(graph: Graph) -> float:
    """Return how far torch's float32 is from its float64: what rounding alone does to these weights."""
    inputs = graph.example(CHECKED_WITH, seed=1)
    exact = _computed(
        copy.deepcopy(graph.module).double(),
        tuple(each.double() if each.is_floating_point() else each for each in inputs),
    )
    return _distance(exact, _computed(graph.module, inputs))


def _computed(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found = module(*inputs)
    return (found,) if isinstance(found, Tensor) else found


def _distance(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Return the largest difference of all outputs relative to the largest value; infinity for other shapes."""
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))
        if a.shape == b.shape
        else math.inf
        for b, a in zip(expected, found, strict=True)
    )

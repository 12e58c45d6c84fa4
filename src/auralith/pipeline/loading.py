"""From a name to a loaded model: the embedded one, a folder, a file, or a repository on the Hub."""

from collections.abc import Sequence
from pathlib import Path

import torch

from auralith.checkpoints import Choice, Files, locate, open_adapters, open_located
from auralith.errors import Field, InvalidRequest, shown
from auralith.exports import is_export, open_export, read_manifest
from auralith.models.compiled import check_choice, refuse_int8
from auralith.models.quantized import warn_of_slow_int8
from auralith.pipeline.compiling import compiled, compiled_where_possible
from auralith.pipeline.model import Auralith
from auralith.provenance import EMBEDDED_NAME
from auralith.request import GenerationRequest
from auralith.resources import (
    INT8,
    NumberFormat,
    choose_device,
    choose_format,
    give_large_blocks_back,
)
from auralith.result import Audio

EMBEDDED = Path(__file__).parents[1] / "embedded"


def load(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    text_encoder: str | Path | None = None,
    adapters: Sequence[Choice] = (),
    weights: str | None = None,
    config: str | Path | None = None,
    compile: str = "off",
) -> Auralith:
    """Load a model: the embedded one (None), a name on the Hub, a folder or a checkpoint file.

    `weights` names the file to use where a folder or repository has several, `config` the model's config where it does
    not lie beside them under a usual name.

    `adapters` are merged into it: (file, strength), with strength 1 as they were trained; or (file, `AdapterEffect`), which
    may act at some noise levels only, or leave some layers alone.

    `dtype` is auto, float32, bfloat16, float16, or int8: the large products of the transformer in int8 and all else in
    float32, on a CPU. "auto" takes int8 only for weights that are stored so.

    The folder of an export (`auralith.exports`) is computed by OpenVINO on the CPU, in float32.

    `compile` lets torch compile the transformer ("on"), which takes about a minute the first time on a machine and a few
    seconds later; "auto" does without, with a warning, where there is no compiler. Results are equal to rounding.

    Raises:
        CheckpointError: the checkpoint or an adapter is missing, damaged, of another architecture, or not safe to read.
        InvalidRequest: an adapter's strength is out of its range.
        ResourceError: the device, the memory it needs, or the compiler that `compile` needs is not there.
    """
    check_choice(compile)
    applied = open_adapters(adapters)
    if source is not None and is_export(Path(source)):
        folder, others = Path(source), (text_encoder, weights, config, *applied)
        number_format = require_computable(folder, device, dtype, compile, others)
        return Auralith(open_export(folder), _name_of(folder), torch.device("cpu"), number_format)
    chosen = choose_device(device)
    choose_format(dtype, chosen)  # a wrong name is refused before the model is looked for
    files = Files(weights, config)
    raw = locate(
        EMBEDDED if source is None else source,
        with_text_encoder=text_encoder is None,
        files=files,
    )
    number_format = choose_format(dtype, chosen, raw.is_int8)
    if compile != "off":
        refuse_int8(number_format.int8)
    if chosen.type == "cpu":
        give_large_blocks_back()
    checkpoint = open_located(
        raw,
        device=chosen,
        dtype=number_format.dtype,
        int8=number_format.int8,
        text_encoder=text_encoder,
        files=files,
        defers_encoder=True,
    )
    if number_format.int8:
        warn_of_slow_int8()
    name = EMBEDDED_NAME if source is None else _name_of(source)
    model = Auralith(checkpoint, name, chosen, number_format)
    model = model.with_applied(applied) if applied else model
    if compile == "off":
        return model
    return compiled(model) if compile == "on" else compiled_where_possible(model)


def require_computable(
    folder: Path, device: str, dtype: str, compile: str = "off", others: Sequence[object] = ()
) -> NumberFormat:
    """Return what an export computes in; raise `InvalidRequest` for what it does not do, and CheckpointError without a manifest.

    `others` is what may be named beside a model, and beside an export may not.
    """
    if compile != "off":
        raise InvalidRequest(Field("compile"), " is for torch; an export is compiled already")
    if any(other is not None for other in others):
        raise InvalidRequest(
            f"{folder} is an export, whose weights and text encoder are fixed; export a model with its adapter merged, or "
            "name nothing beside the folder"
        )
    if device not in ("auto", "cpu"):
        raise InvalidRequest(
            Field("device"), f" {device!r}: an export runs on a CPU; use auto or cpu"
        )
    is_int8 = read_manifest(folder, verify=False).is_int8
    number_format = INT8 if is_int8 else NumberFormat(torch.float32)
    if dtype not in ("auto", number_format.name):
        raise InvalidRequest(
            Field("dtype"),
            f" {shown(dtype)}: this export computes in {number_format.name}; leave it out",
        )
    return number_format


def generate(prompt: str, seconds_total: float | None = None, seed: int | None = None) -> Audio:
    """One sound from the embedded model; for anything more, `load` a model and ask it."""
    return load().generate(GenerationRequest(prompt, seconds_total=seconds_total, seed=seed))


def _name_of(source: str | Path) -> str:
    """A Hub name as it is; of a path its last part, so that files don't tell where they were made."""
    return Path(source).resolve().name if Path(source).exists() else str(source)

"""A pipeline's components from a checkpoint of any layout, and back into a folder of diffusers' layout."""

import logging
import os
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auralith.checkpoints import Spec
from auralith.checkpoints.diffusers_folder import write_diffusers
from auralith.checkpoints.hub import HubOptions
from auralith.checkpoints.opening import locate, open_networks
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.checkpoints.text_encoders import locate_text_encoder
from auralith.checkpoints.transform import to_single_file, with_old_weight_norm
from auralith.compat.diffusers.components import Projection, Transformer, Vae
from auralith.compat.diffusers.scheduler import FILE_NAME, CosineDPMSolverMultistepScheduler
from auralith.config import ModelConfig
from auralith.errors import CheckpointError
from auralith.families.registry import text_encoder_kind
from auralith.models.lazy_tensor import LazyTensor, Weights
from auralith.text.encoder import TextEncoder, TextEncoderFolders

Dtypes = torch.dtype | dict[str, torch.dtype] | None
States = Mapping[str, Mapping[str, Tensor]]
CPU = torch.device("cpu")
SCHEDULER = "scheduler"
TEXT = ("text_encoder", "tokenizer")
log = logging.getLogger(__name__)


class Unset(Enum):
    """The mark of a component that was not given, as None means that there is to be none."""

    TOKEN = 0


UNSET: Literal[Unset.TOKEN] = Unset.TOKEN


def open_components(
    source: str | Path,
    *,
    dtypes: Dtypes,
    variant: str | None,
    hub: HubOptions,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The six components on the CPU; those in `given` take the place of stored ones. Raises CheckpointError."""
    raw = locate(source, with_text_encoder=not given.keys() >= {*TEXT}, hub=hub, variant=variant)
    config = _usable(raw)
    dtype = dtypes if isinstance(dtypes, torch.dtype) else torch.float32
    networks = open_networks(raw, CPU, dtype)
    window = config.window_samples / config.audio.samples_per_frame
    components: dict[str, Any] = {
        "vae": Vae(networks.autoencoder, config.audio, config.latent_scale),
        "transformer": Transformer(networks.dit, window),
        "projection_model": Projection(networks.numbers, config),
        SCHEDULER: _scheduler(raw.folder, config),
    }
    if not given.keys() >= {*TEXT}:
        folders = locate_text_encoder(raw, None, hub=hub)
        text = text_encoder_kind(config).open(folders, config.text_width, CPU, dtype, variant)
        text.tokenizer.model_max_length = config.text.max_tokens
        components |= {"text_encoder": text.model, "tokenizer": text.tokenizer}
    if isinstance(dtypes, dict):
        _cast(components, dtypes)
    for name in components.keys() - given.keys():
        log.info("loaded %s from %s", name, source)
    return components | dict(given)


def _usable(raw: RawCheckpoint) -> ModelConfig:
    config = raw.model
    if config.objective != "v":
        raise CheckpointError(
            f"{raw.source} is trained for {config.objective!r}, which the diffusers pipeline has no scheduler for; "
            "use auralith.load"
        )
    return config


def _scheduler(folder: Path, config: ModelConfig) -> CosineDPMSolverMultistepScheduler:
    """The stored scheduler, or the published one over the model's range of noise levels."""
    if (folder / SCHEDULER / FILE_NAME).is_file():
        return CosineDPMSolverMultistepScheduler.from_pretrained(folder, SCHEDULER)
    sampling = config.sampling
    return CosineDPMSolverMultistepScheduler(sampling.sigma_min, sampling.sigma_max)


def _cast(components: Mapping[str, Any], dtypes: Mapping[str, torch.dtype]) -> None:
    default = dtypes.get("default", torch.float32)
    for name, component in components.items():
        if isinstance(component, nn.Module):
            component.to(dtype=dtypes.get(name, default))


def save(
    folder: Path,
    config: ModelConfig,
    states: States,
    text: TextEncoder,
    scheduler: CosineDPMSolverMultistepScheduler,
    variant: str | None,
) -> None:
    """Write everything beside `folder`, then move it in, file by file. Raises CheckpointError."""
    spec = Spec.of(config)
    weights = to_single_file(with_old_weight_norm(_on_cpu(states)), spec)
    raw = RawCheckpoint("single-file", str(folder), spec, weights, (), folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".auralith-") as name:
        written, stored = Path(name, "model"), Path(name, "text")
        _save_text(stored, text, config)
        write_diffusers(written, raw, TextEncoderFolders(stored, stored))
        scheduler.save_pretrained(written / SCHEDULER)
        for path in sorted(written.rglob("*")):
            if path.is_file():
                _move(path, folder / path.relative_to(written), variant)


def _on_cpu(states: States) -> Weights:
    return {
        f"{part}.{name}": LazyTensor(tuple(t.shape), t.dtype, t.detach().cpu)
        for part, state in states.items()
        for name, t in state.items()
    }


def _save_text(folder: Path, text: TextEncoder, config: ModelConfig) -> None:
    device = text.device
    nn.Module.to(text.model, CPU)
    text_encoder_kind(config).save(folder, text)
    nn.Module.to(text.model, device)


def _move(source: Path, target: Path, variant: str | None) -> None:
    if variant is not None and target.suffix == ".safetensors":
        target = target.with_suffix(f".{variant}.safetensors")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)

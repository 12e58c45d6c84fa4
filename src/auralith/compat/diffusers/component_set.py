"""The pipeline's six components together: opened from a checkpoint of any layout, saved in diffusers', moved, described."""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, no_type_check

import torch
from torch import Tensor, nn

from auralith.checkpoints import Spec
from auralith.checkpoints.diffusers_folder import write_diffusers
from auralith.checkpoints.hub import HubOptions
from auralith.checkpoints.opening import locate, open_networks
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.checkpoints.text_encoders import locate_text_encoder
from auralith.checkpoints.transform import to_single_file, with_old_weight_norm
from auralith.compat.diffusers.component import Component
from auralith.compat.diffusers.components import ProjectionModel, Transformer, Vae
from auralith.compat.diffusers.scheduler import FILE_NAME, CosineDPMSolverMultistepScheduler
from auralith.compat.diffusers.text_components import (
    TextComponents,
    open_text_components,
    save_text_components,
)
from auralith.config import ModelConfig, TextCondition
from auralith.errors import CheckpointError, InvalidRequest
from auralith.models.dit import DiT
from auralith.models.lazy_tensor import LazyTensor, Weights
from auralith.text.encoder import TextEncoderFolders

if TYPE_CHECKING:
    import transformers

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
    assert isinstance(networks.dit, DiT)  # others are trained for other objectives
    window = config.window_samples / config.audio.samples_per_frame
    components: dict[str, Any] = {
        "vae": Vae(networks.autoencoder, config.audio, config.latent_scale),
        "transformer": Transformer(networks.dit, window),
        "projection_model": ProjectionModel(networks.numbers, config),
        SCHEDULER: _scheduler(raw.folder, config),
    }
    if not given.keys() >= {*TEXT}:
        folders = locate_text_encoder(raw, None, hub=hub)
        components |= open_text_components(folders, config, dtype, variant)
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


def save_components(
    folder: Path,
    config: ModelConfig,
    states: States,
    text: TextComponents,
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
        save_text_components(stored, text)
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


def _move(source: Path, target: Path, variant: str | None) -> None:
    if variant is not None and target.suffix == ".safetensors":
        target = target.with_suffix(f".{variant}.safetensors")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


Pipeline = TypeVar("Pipeline", bound="ComponentSet")
NO_LIMIT = 100_000


class ComponentSet:
    """Six components, any of which may be replaced by assignment."""

    _optional_components = ()

    @no_type_check  # networks of another library are refused in one line
    def __init__(
        self,
        vae: Vae,
        text_encoder: "transformers.T5EncoderModel | None",
        projection_model: ProjectionModel,
        tokenizer: "transformers.PreTrainedTokenizerBase | None",
        transformer: Transformer,
        scheduler: CosineDPMSolverMultistepScheduler,
    ) -> None:
        """Without text encoder and tokenizer only `prompt_embeds` can be used. Networks are put in eval mode.

        Raises InvalidRequest for networks of another library, and for a text encoder of another width.
        """
        _require_ours(vae=vae, projection_model=projection_model, transformer=transformer)
        self.vae, self.transformer, self.projection_model = vae, transformer, projection_model
        self.text_encoder, self.tokenizer, self.scheduler = text_encoder, tokenizer, scheduler
        self._offload_to: torch.device | None = None
        width = projection_model.config["text_encoder_dim"]
        if text_encoder is not None and text_encoder.config.d_model != width:
            raise InvalidRequest(
                f"the text encoder is {text_encoder.config.d_model} wide, the projection model takes {width}"
            )
        for network in self._networks().values():
            network.eval()

    @classmethod
    def from_pretrained(
        cls: type[Pipeline],
        pretrained_model_name_or_path: str | Path,
        *,
        dtype: Dtypes = None,
        torch_dtype: Dtypes = None,
        variant: str | None = None,
        device_map: str | torch.device | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = True,
        vae: Vae | Unset = UNSET,
        text_encoder: "transformers.T5EncoderModel | Unset | None" = UNSET,
        projection_model: ProjectionModel | Unset = UNSET,
        tokenizer: "transformers.PreTrainedTokenizerBase | Unset | None" = UNSET,
        transformer: Transformer | Unset = UNSET,
        scheduler: CosineDPMSolverMultistepScheduler | Unset = UNSET,
    ) -> Pipeline:
        """A pipeline from a name on the Hub, a folder in diffusers' layout, or any other checkpoint of this project.

        `dtype` (`torch_dtype` is its older name) is float32 if None, or a dict by component with a "default".
        `device_map` is a device. Components given by keyword take the place of stored ones. `use_safetensors` and
        `low_cpu_mem_usage` change nothing: pickles are never run, and weights are mapped from the file.
        Raises CheckpointError, and InvalidRequest for arguments that exclude each other.
        """
        if dtype is not None and torch_dtype is not None:
            raise InvalidRequest("give dtype or torch_dtype, which is its older name, not both")
        given = {
            "vae": vae,
            "text_encoder": text_encoder,
            "projection_model": projection_model,
            "tokenizer": tokenizer,
            "transformer": transformer,
            "scheduler": scheduler,
        }
        hub = HubOptions(revision, cache_dir, token, local_files_only, force_download)
        components = open_components(
            pretrained_model_name_or_path,
            dtypes=torch_dtype if dtype is None else dtype,
            variant=variant,
            hub=hub,
            given={name: value for name, value in given.items() if value is not UNSET},
        )
        pipeline = cls(**components)
        return pipeline if device_map is None else pipeline.to(device_map)

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
    ) -> None:
        """Write a folder in diffusers' layout; files that are there already are replaced.

        `variant` goes into the names of the weights (`model.fp16.safetensors`). Pickles are not written: with
        `safe_serialization=False` a warning says so. Raises CheckpointError for a model that diffusers can't express.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise InvalidRequest("there is no text encoder to save; put it back before saving")
        if not safe_serialization:
            log.warning("pickled weights can run code when they are read; writing safetensors")
        states = {
            "autoencoder": self.vae.network.state_dict(),
            "dit": self.transformer.network.state_dict(),
            "numbers": self.projection_model.numbers.state_dict(),
        }
        text = TextComponents(self.text_encoder, self.tokenizer)
        save_components(
            Path(save_directory), self.model_config, states, text, self.scheduler, variant
        )

    def to(
        self: Pipeline,
        *targets: torch.device | torch.dtype | str | int,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        silence_dtype_warnings: bool = False,
    ) -> Pipeline:
        """Move and cast every network; returns the pipeline itself. `silence_dtype_warnings` is accepted and ignored."""
        for target in targets:
            if isinstance(target, torch.dtype):
                dtype = target
            else:
                device = target
        for network in self._networks().values():
            network.to(device=device, dtype=dtype)
        return self

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str = "cuda"
    ) -> None:
        """Keep the networks on the CPU and bring each to `device` for the part of a call that it has."""
        self.to("cpu")
        self._offload_to = torch.device(device if gpu_id is None else f"cuda:{gpu_id}")

    def enable_attention_slicing(self, slice_size: str | int | None = "auto") -> None:
        """Nothing to switch: attention never holds all scores at once."""

    def disable_attention_slicing(self) -> None:
        """Nothing to switch."""

    @property
    def components(self) -> dict[str, Any]:
        return {
            "vae": self.vae,
            "text_encoder": self.text_encoder,
            "projection_model": self.projection_model,
            "tokenizer": self.tokenizer,
            "transformer": self.transformer,
            "scheduler": self.scheduler,
        }

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype

    @property
    def model_config(self) -> ModelConfig:
        """Return the config of the model that the components make up."""
        hop = self.vae.hop_length
        model = self.projection_model.model
        conditions = tuple(
            replace(c, max_tokens=self._max_tokens(c.max_tokens))
            if isinstance(c, TextCondition)
            else c
            for c in model.conditions
        )
        levels = self.scheduler.config
        return replace(
            model,
            audio=self.vae.audio,
            window_samples=int(self.transformer.config["sample_size"] * hop),
            autoencoder=getattr(self.vae.network, "config", model.autoencoder),
            latent_scale=self.vae.latent_scale,
            dit=self.transformer.network.config,
            conditions=conditions,
            sampling=replace(
                model.sampling, sigma_min=levels["sigma_min"], sigma_max=levels["sigma_max"]
            ),
        )

    def _max_tokens(self, default: int) -> int:
        limit = getattr(self.tokenizer, "model_max_length", NO_LIMIT)
        return limit if limit < NO_LIMIT else default

    def _networks(self) -> dict[str, torch.nn.Module]:
        return {n: c for n, c in self.components.items() if isinstance(c, torch.nn.Module)}

    @property
    def _execution_device(self) -> torch.device:
        return self._offload_to or self.device

    @contextmanager
    def _at_work(self, *networks: torch.nn.Module | None) -> Iterator[None]:
        """Under CPU offload, the networks on the working device meanwhile."""
        moved = [n for n in networks if n is not None and self._offload_to is not None]
        for network in moved:
            network.to(self._execution_device)
        try:
            yield
        finally:
            for network in moved:
                network.to("cpu")


def _require_ours(**networks: object) -> None:
    for name, network in networks.items():
        if not isinstance(network, Component):
            raise InvalidRequest(
                f"{name} is a {type(network).__module__}.{type(network).__name__}; "
                "take the class of that name from auralith.compat.diffusers"
            )

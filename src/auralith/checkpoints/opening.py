"""From a name to networks that are ready to run.

The modules are built without memory (meta device) and the tensors are mapped straight from the file; only what has to
change (another dtype or device, folded weight norm) is copied, one tensor at a time. Nothing is loaded partially: names
and shapes were checked against the config before.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auralith.checkpoints.attribution import attribution_of
from auralith.checkpoints.choosing import EXPORT_MANIFEST, FOUND, Files, find_weights, is_component
from auralith.checkpoints.diffusers_folder import read_diffusers_autoencoder, read_diffusers_folder
from auralith.checkpoints.hub import DEFAULTS, HubOptions, fetch_checkpoint, is_repository
from auralith.checkpoints.quantization import place_int8, to_file
from auralith.checkpoints.single_file import Layout, RawCheckpoint, read_single_file
from auralith.checkpoints.text_encoders import locate_text_encoder
from auralith.checkpoints.transform import to_ours
from auralith.config import AudioFormat, AutoencoderConfig, ModelConfig
from auralith.errors import CheckpointError
from auralith.families.family import Spec
from auralith.families.registry import (
    AUTOENCODER,
    Networks,
    is_untrained,
    text_encoder_kind,
    without_memory,
)
from auralith.models.autoencoder import Autoencoder
from auralith.models.deferred import defer
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.quantized import int8_layers
from auralith.resources import choose_format
from auralith.tensor_files import sha256_of
from auralith.text.encoder import TextEncoder

ENCODER, OUR_ENCODER = f"{AUTOENCODER}.encoder.", "autoencoder.encoder."
"""Beginnings of the names of an autoencoder's encoder, published and ours."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Hashed:
    hashing: Future[str]
    """The hash of the files, which takes longer than mapping them."""

    @property
    def model_hash(self) -> str:
        """The SHA-256 over the SHA-256 digests of the weights and config files, in that order: the same files give the
        same hash anywhere, another layout of the same model another one. The text encoder is not part of it.
        """
        return self.hashing.result()


@dataclass(frozen=True, eq=False)
class Checkpoint(_Hashed):
    """A whole model in eval mode."""

    config: ModelConfig
    autoencoder: Autoencoder
    dit: DiffusionTransformer[Any]
    numbers: nn.ModuleDict
    text: TextEncoder
    source: str
    folder: Path
    """The folder that the weights lie in."""
    files: Files = FOUND
    """The weights and config that were named, if they were."""
    is_int8: bool = False
    """Says whether the weights are stored in int8, so that those they were rounded from are not at hand."""
    training: object = None
    """The `training` section of the model's config as it is written; None if the config lacks it."""


@dataclass(frozen=True, eq=False)
class AutoencoderCheckpoint(_Hashed):
    """An autoencoder in eval mode."""

    audio: AudioFormat
    config: AutoencoderConfig
    autoencoder: Autoencoder
    source: str
    folder: Path
    """The folder that the weights lie in."""


def open_checkpoint(
    source: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    int8: bool = False,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
) -> Checkpoint:
    """A model from a weights file, a folder, or a name on the Hub.

    The text encoder is `text_encoder` (a folder or a name on the Hub) or else what lies beside the weights (`t5/`, or
    `text_encoder/` and `tokenizer/`) or else the Hub model that the config names. Frequencies stay in float32 whatever
    `dtype` is. With `int8` the large products of the transformer are in int8. A folder with both layouts is read as a
    single file. Raises CheckpointError.
    """
    raw = locate(source, with_text_encoder=text_encoder is None, files=files)
    return open_located(
        raw, device=device, dtype=dtype, int8=int8, text_encoder=text_encoder, files=files
    )


def open_located(
    raw: RawCheckpoint,
    *,
    device: torch.device,
    dtype: torch.dtype,
    int8: bool = False,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
    defers_encoder: bool = False,
) -> Checkpoint:
    """Open what `locate` found, as `open_checkpoint` does. Raises CheckpointError.

    With `defers_encoder` the autoencoder's encoder gets its weights when it first computes (`models.deferred`).
    """
    config = raw.model
    if not config.is_conditional:
        raise CheckpointError(
            f"{raw.source} is an unconditional model, which takes no prompt; use generate_diffusion_uncond of "
            "auralith.compat.stable_audio_tools"
        )
    folders = locate_text_encoder(raw, text_encoder)
    hashing = _begin_hashing(raw)
    text = text_encoder_kind(config).open(folders, config.text_width, device, dtype)
    networks = open_networks(raw, device, dtype, int8, defers_encoder=defers_encoder)
    return Checkpoint(
        config=config,
        autoencoder=networks.autoencoder,
        dit=networks.dit,
        numbers=networks.numbers,
        text=text,
        hashing=hashing,
        source=raw.source,
        folder=raw.folder,
        files=files,
        is_int8=raw.is_int8,
        training=(raw.config_json or {}).get("training"),
    )


def open_autoencoder(
    source: str | Path, *, device: torch.device, dtype: torch.dtype
) -> AutoencoderCheckpoint:
    """The autoencoder of a file that holds one alone, or of a whole model. Raises CheckpointError."""
    raw = locate(source)
    spec = raw.spec
    alone = raw.autoencoder_only()
    hashing = _begin_hashing(alone)
    networks = open_networks(alone, device, dtype)
    return AutoencoderCheckpoint(
        audio=spec.audio,
        config=spec.autoencoder,
        autoencoder=networks.autoencoder,
        hashing=hashing,
        source=raw.source,
        folder=raw.folder,
    )


def locate(
    source: str | Path,
    *,
    with_text_encoder: bool = False,
    hub: HubOptions = DEFAULTS,
    variant: str | None = None,
    files: Files = FOUND,
) -> RawCheckpoint:
    """Find and check a checkpoint of any layout, reading no more than headers. Raises CheckpointError.

    `files` names the weights of a folder or repository, and the config, where they can't be told by themselves.
    Only the diffusers layout has variants: with one named, no other layout is looked for in a folder.
    """
    path = Path(source).expanduser()
    if not (path.is_file() or path.is_dir()):
        if isinstance(source, Path) or not is_repository(source):
            raise CheckpointError(
                f"there is no file or folder {source}; check the path, or name a model on the Hub as owner/name"
            )
        path = fetch_checkpoint(
            str(source),
            with_text_encoder=with_text_encoder,
            options=hub,
            only_diffusers=variant is not None,
            files=files,
        )
    if (path / EXPORT_MANIFEST).is_file():
        raise CheckpointError(
            f"{source} is an export, which can only generate and edit; use the model that it was made from here"
        )
    path = find_weights(path, files.weights, variant)
    if path.is_dir() and is_component(path):
        return read_diffusers_autoencoder(path, str(source), variant)
    if path.is_dir():
        return read_diffusers_folder(path, str(source), variant)
    return read_single_file(path, str(source), files.config)


def _begin_hashing(raw: RawCheckpoint) -> Future[str]:
    pool = ThreadPoolExecutor(1, "hash")
    hashing = pool.submit(sha256_of, raw.files)
    pool.shutdown(wait=False)
    return hashing


def open_networks(
    raw: RawCheckpoint,
    device: torch.device,
    dtype: torch.dtype,
    int8: bool = False,
    *,
    defers_encoder: bool = False,
) -> Networks:
    """Return the networks in eval mode, in `dtype` but for what they keep in float32, or have in int8.

    With `defers_encoder` the autoencoder's encoder gets its weights when it first computes.
    """
    networks = without_memory(raw.spec, dtype)
    published = raw.weights
    if defers_encoder:
        published = {n: t.kept() if n.startswith(ENCODER) else t for n, t in published.items()}
    tensors = to_ours(published, raw.spec)
    if int8:
        tensors = place_int8(networks.dit, tensors)
    empty = networks.state_dict()
    later = {n: t for n, t in tensors.items() if defers_encoder and n.startswith(OUR_ENCODER)}
    if later:

        def read() -> dict[str, Tensor]:
            found = {n: t.load(device, empty[n].dtype) for n, t in later.items()}
            return {n.removeprefix(OUR_ENCODER): tensor for n, tensor in found.items()}

        defer(networks.autoencoder.get_submodule("encoder"), read)
    state = {
        n: empty[n] if n in later else t.load(device, empty[n].dtype) for n, t in tensors.items()
    }
    networks.load_state_dict(state, strict=True, assign=True)
    return networks.eval()


PARTS = {
    ENCODER: "autoencoder encoder",
    "pretransform.model.decoder.": "autoencoder decoder",
    "pretransform.model.": "autoencoder statistics",
    "conditioner.": "timing embedders",
    "model.model.": "diffusion transformer",
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Inspection:
    """`parameters` are counted as published: with the norms of the weight norm, without buffers."""

    source: str
    layout: Layout
    spec: Spec
    num_tensors: int
    parameters: dict[str, int]
    stored_dtypes: tuple[str, ...]
    file_bytes: int
    memory_bytes: dict[str, int]
    """Bytes of the loaded networks (text encoder not included) by dtype; weight norm is folded then."""
    attribution: str | None
    """Path of the file with the names of everybody whose sounds the model learned from, if there is one."""

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters.values())


def inspect_checkpoint(source: str | Path, files: Files = FOUND) -> Inspection:
    """Layout, config and sizes of a checkpoint; its tensors are checked but not read. Raises CheckpointError."""
    raw = locate(source, files=files)
    parameters: dict[str, int] = {}
    for name, tensor in raw.weights.items():
        part = next(part for start, part in PARTS.items() if name.startswith(start))
        if not is_untrained(name, raw.spec):
            parameters[part] = parameters.get(part, 0) + tensor.numel
    memory = {_short(dtype): _network_bytes(raw.spec, dtype) for dtype in DTYPES}
    if raw.spec.model is not None:
        memory["int8"] = _network_bytes(raw.spec, torch.float32, int8=True)
    return Inspection(
        source=raw.source,
        layout=raw.layout,
        spec=raw.spec,
        num_tensors=len(raw.weights),
        parameters=parameters,
        stored_dtypes=tuple(sorted({_short(t.dtype) for t in to_file(raw.weights).values()})),
        file_bytes=sum(path.stat().st_size for path in raw.files),
        memory_bytes=memory,
        attribution=attribution_of(raw.folder),
    )


def _network_bytes(spec: Spec, dtype: torch.dtype, int8: bool = False) -> int:
    networks = without_memory(spec, dtype)
    matrices = {f"dit.{name}.weight" for name in int8_layers(networks.dit)} if int8 else set[str]()
    return sum(
        tensor.numel() + 4 * tensor.shape[0]  # codes and scales
        if name in matrices
        else tensor.numel() * tensor.itemsize
        for name, tensor in networks.state_dict().items()
    )


def weight_bytes(source: str | Path, dtype: str, device: torch.device, files: Files = FOUND) -> int:
    """Return the bytes that the networks of a checkpoint take, its text encoder not included, in a format by name.

    Raises CheckpointError.
    """
    raw = locate(source, files=files)
    chosen = choose_format(dtype, device, raw.is_int8)
    return _network_bytes(raw.spec, chosen.dtype, chosen.int8)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

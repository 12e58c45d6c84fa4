"""From a name to networks that are ready to run.

The modules are built without memory (meta device) and the tensors are mapped straight from the file; only what has to
change (another dtype or device, folded weight norm) is copied, one tensor at a time. Nothing is loaded partially: names
and shapes were checked against the config before.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from auralith.checkpoints.choosing import (
    CONFIG_NAME,
    FOUND,
    Files,
    choose_weights,
)
from auralith.checkpoints.diffusers_folder import INDEX_NAME, read_diffusers_folder
from auralith.checkpoints.hub import (
    DEFAULTS,
    HubOptions,
    fetch_checkpoint,
    fetch_text_encoder,
    is_repository,
)
from auralith.checkpoints.single_file import (
    Layout,
    RawCheckpoint,
    find_weights,
    read_single_file,
)
from auralith.checkpoints.transform import to_ours
from auralith.config import AudioFormat, AutoencoderConfig, ModelConfig
from auralith.errors import CheckpointError, shown
from auralith.families.networks import Networks, without_memory
from auralith.families.registry import is_untrained, text_encoder_kind
from auralith.families.spec import Spec
from auralith.models.autoencoder import Autoencoder
from auralith.models.dit import DiT
from auralith.tensor_files import sha256_of
from auralith.text.encoder import TextEncoder, TextEncoderFolders, TextEncoderKind


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
    dit: DiT
    numbers: nn.ModuleDict
    text: TextEncoder
    source: str
    files: Files = FOUND
    """The weights and config that were named, if they were."""
    training: object = None
    """The `training` section of the model's config as it is written, None where there is none."""


@dataclass(frozen=True, eq=False)
class AutoencoderCheckpoint(_Hashed):
    """An autoencoder in eval mode."""

    audio: AudioFormat
    config: AutoencoderConfig
    autoencoder: Autoencoder
    source: str


def open_checkpoint(
    source: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
) -> Checkpoint:
    """A model from a weights file, a folder, or a name on the Hub.

    The text encoder is `text_encoder` (a folder or a name on the Hub) or else what lies beside the weights (`t5/`, or
    `text_encoder/` and `tokenizer/`) or else the Hub model that the config names. Frequencies stay in float32 whatever
    `dtype` is. A folder with both layouts is read as a single file. Raises CheckpointError.
    """
    raw = locate(source, with_text_encoder=text_encoder is None, files=files)
    return open_located(raw, device=device, dtype=dtype, text_encoder=text_encoder, files=files)


def open_located(
    raw: RawCheckpoint,
    *,
    device: torch.device,
    dtype: torch.dtype,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
) -> Checkpoint:
    """Open what `locate` found, as `open_checkpoint` does. Raises CheckpointError."""
    config = raw.model
    if not config.is_conditional:
        raise CheckpointError(
            f"{raw.source} is an unconditional model, which takes no prompt; use generate_diffusion_uncond of "
            "auralith.compat.stable_audio_tools"
        )
    folders = locate_text_encoder(raw, text_encoder)
    hashing = _begin_hashing(raw)
    text = text_encoder_kind(config).open(folders, config.text_width, device, dtype)
    networks = open_networks(raw, device, dtype)
    return Checkpoint(
        config=config,
        autoencoder=networks.autoencoder,
        dit=networks.dit,
        numbers=networks.numbers,
        text=text,
        hashing=hashing,
        source=raw.source,
        files=files,
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
    if path.name == CONFIG_NAME and path.is_file():
        path = path.parent  # the card names the config; the weights lie beside it
    if path.is_file():
        return read_single_file(path, str(source), files.config)
    if not path.is_dir():
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
        if path.is_file():
            return read_single_file(path, str(source), files.config)
    weights = None if variant or files.weights else find_weights(path)
    if weights is None and files.weights is None and (path / INDEX_NAME).is_file():
        return read_diffusers_folder(path, str(source), variant)
    weights = weights or path / choose_weights(_files_in(path, files.weights), files.weights, path)
    return read_single_file(weights, str(source), files.config)


def _files_in(folder: Path, wanted: str | None) -> list[str]:
    """Names of the files in a folder, and of one below it that was asked for."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    below = wanted is not None and ".." not in Path(wanted).parts and not Path(wanted).is_absolute()
    return [*names, wanted] if wanted and below and (folder / wanted).is_file() else names


def locate_text_encoder(
    raw: RawCheckpoint, wanted: str | Path | None, *, hub: HubOptions = DEFAULTS
) -> TextEncoderFolders:
    """The text encoder of a model, in the order that `open_checkpoint` describes. Raises CheckpointError."""
    kind = text_encoder_kind(raw.model)
    if wanted is None:
        beside = kind.find(raw.folder)
        if beside is not None:
            return beside
        wanted = raw.model.text.encoder
        if not is_repository(wanted, owned=False):
            raise CheckpointError(
                f"the config of {raw.source} names the text encoder {shown(wanted)}, which is not a model of the "
                "Hub; a config may not open other places: name a folder with --text-encoder"
            )
    return named_text_encoder(wanted, kind, hub=hub)


def named_text_encoder(
    wanted: str | Path, kind: TextEncoderKind, *, hub: HubOptions = DEFAULTS
) -> TextEncoderFolders:
    """Return a text encoder by its folder or its name on the Hub. Raises CheckpointError."""
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        if isinstance(wanted, Path) or not is_repository(wanted, owned=False):
            raise CheckpointError(
                f"there is no folder {wanted}; name the folder of {kind.title}, or a model on the Hub"
            )
        # a revision is the model's, not that of the text encoder's own repository
        folder = fetch_text_encoder(str(wanted), replace(hub, revision=None))
    found = kind.find(folder)
    if found is None:
        raise CheckpointError(
            f"{wanted} does not hold {kind.title} with its tokenizer (config.json, model.safetensors, tokenizer.json)"
        )
    return found


def copy_text_encoder(raw: RawCheckpoint, folder: Path, wanted: str | Path | None = None) -> None:
    """Copy a model's text encoder beside the single file in `folder`: the one that was named, or the one beside the model.

    Raises CheckpointError.
    """
    if raw.spec.model is None or not raw.spec.model.is_conditional:
        return
    kind = text_encoder_kind(raw.spec.model)
    found = kind.find(raw.folder) if wanted is None else locate_text_encoder(raw, wanted)
    if found is not None:
        kind.copy(found, TextEncoderFolders(folder / kind.subfolder, folder / kind.subfolder))


def _begin_hashing(raw: RawCheckpoint) -> Future[str]:
    pool = ThreadPoolExecutor(1, "hash")
    hashing = pool.submit(sha256_of, raw.files)
    pool.shutdown(wait=False)
    return hashing


def open_networks(raw: RawCheckpoint, device: torch.device, dtype: torch.dtype) -> Networks:
    """Return the networks in eval mode, in `dtype` but for what they keep in float32."""
    networks = without_memory(raw.spec, dtype)
    expected = networks.state_dict()
    tensors = to_ours(raw.weights, raw.spec)
    state = {name: t.load(device, expected[name].dtype) for name, t in tensors.items()}
    networks.load_state_dict(state, strict=True, assign=True)
    return networks.eval()


PARTS = {
    "pretransform.model.encoder.": "autoencoder encoder",
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
    memory = {}
    for dtype in DTYPES:
        tensors = without_memory(raw.spec, dtype).state_dict().values()
        memory[_short(dtype)] = sum(t.numel() * t.itemsize for t in tensors)
    return Inspection(
        source=raw.source,
        layout=raw.layout,
        spec=raw.spec,
        num_tensors=len(raw.weights),
        parameters=parameters,
        stored_dtypes=tuple(sorted({_short(tensor.dtype) for tensor in raw.weights.values()})),
        file_bytes=sum(path.stat().st_size for path in raw.files),
        memory_bytes=memory,
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

"""Describe a model before it is loaded: a server answers about models, and refuses some, without their weights."""

from dataclasses import dataclass
from pathlib import Path

from auralith.checkpoints import Files, locate
from auralith.checkpoints.choosing import FOUND
from auralith.checkpoints.opening import weight_bytes as checkpoint_bytes
from auralith.config import ModelConfig
from auralith.exports import MANIFEST, is_export, read_manifest
from auralith.exports.manifest import TOKENIZER
from auralith.families.registry import text_encoder_kind
from auralith.pipeline.loading import EMBEDDED, require_computable
from auralith.resources import choose_device, choose_format
from auralith.text.vocabulary import FILE


@dataclass(frozen=True)
class Description:
    """Facts of a model that need none of its weights."""

    config: ModelConfig
    files: tuple[Path, ...]
    """The files whose hash is the model's."""
    tokenizer: Path | None
    """Folder of the tokenizer, if it is on this machine: nothing is fetched for it."""
    is_export: bool = False
    """Says whether the model is an export, which takes no adapters and no cache of steps."""


def describe(
    source: str | Path | None,
    *,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
    with_text_encoder: bool = False,
) -> Description:
    """Describe what `load` would load. Raises as `checkpoints.locate` does.

    With `with_text_encoder` one that lies beside the weights on the Hub is fetched, too.
    """
    source = EMBEDDED if source is None else source
    if is_export(Path(source)):
        manifest = read_manifest(Path(source), verify=False)
        folder = Path(source) / TOKENIZER
        return Description(manifest.config, (Path(source) / MANIFEST,), folder, is_export=True)
    raw = locate(source, with_text_encoder=with_text_encoder, files=files)
    if not raw.model.is_conditional:
        return Description(raw.model, raw.files, None)
    folder = raw.folder if text_encoder is None else Path(text_encoder).expanduser()
    found = text_encoder_kind(raw.model).find(folder)
    has_file = found is not None and (found.tokenizer / FILE).is_file()
    return Description(raw.model, raw.files, found.tokenizer if found and has_file else None)


def weight_bytes(source: str | Path | None, dtype: str, device: str, files: Files = FOUND) -> int:
    """Return the bytes that the weights of a model take at least: a checkpoint's text encoder comes on top.

    Raises:
        CheckpointError: the model is missing or damaged.
        InvalidRequest: `device` or `dtype` can't be had, or not for an export.
    """
    source = EMBEDDED if source is None else source
    chosen = choose_device(device)
    choose_format(dtype, chosen)  # a wrong name is refused before the model is looked for
    if is_export(Path(source)):
        require_computable(Path(source), device, dtype)
        return read_manifest(Path(source), verify=False).num_bytes
    return checkpoint_bytes(source, dtype, chosen, files)

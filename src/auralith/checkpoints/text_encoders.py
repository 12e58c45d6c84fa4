"""The text encoder of a checkpoint: beside its weights, in a folder that was named, or on the Hub."""

from dataclasses import replace
from pathlib import Path

from auralith.checkpoints.hub import DEFAULTS, HubOptions, fetch_text_encoder, is_repository
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.errors import CheckpointError, shown
from auralith.families.registry import text_encoder_kind, text_folder
from auralith.text.encoder import TextEncoderFolders, TextEncoderKind


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
        if not wanted:
            raise CheckpointError(
                f"{raw.source} lacks its text encoder, and its config names none; put the folder "
                f"{text_folder(raw.model)} of {kind.title} beside it, or name one with --text-encoder"
            )
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
        folder = fetch_text_encoder(str(wanted), kind, replace(hub, revision=None))
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
        target = folder / text_folder(raw.spec.model)
        kind.copy(found, TextEncoderFolders(target, target))

"""The diffusers layout: a folder per component, each with its own config and weights.

It can express Stable Audio Open 1.0 and models of its shape (v objective, prepended global conditioning, one range for
both timing embedders); `write_diffusers` refuses the rest by naming what does not fit. Diffusers' own autoencoder class ties the encoder's width to twice the latent channels:
folders of other widths are written and read here all the same, but not by it. An autoencoder alone is a folder by itself.
"""

from functools import partial
from pathlib import Path

from auralith.checkpoints.choosing import INDEX_NAME
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.checkpoints.transform import (
    as_stored,
    check_weights,
    from_diffusers,
    published_weights,
    to_diffusers,
    with_old_weight_norm,
)
from auralith.config import ModelConfig, TextCondition
from auralith.errors import CheckpointError
from auralith.families.family import DiffusersForm, Spec
from auralith.families.registry import (
    FAMILIES,
    autoencoder_forms,
    family_of,
    text_encoder_kind,
)
from auralith.families.sections import Section
from auralith.foreign import read_json
from auralith.models.lazy_tensor import Weights
from auralith.tensor_files import (
    component_files,
    find_component,
    read_component,
    variant_files,
    write_json,
    write_safetensors,
)
from auralith.text.encoder import TextEncoderFolders
from auralith.text.tokenizer_files import tokenizer_limit

VERSION = "0.30.0.dev0"  # the version that the published folder names
STEM = "diffusion_pytorch_model"
CONFIG_NAME = "config.json"
SCHEDULER = "scheduler/scheduler_config.json"


class MissingVariant(CheckpointError, ValueError):
    """No component has files of the variant; a ValueError to programs written for diffusers."""


def read_diffusers_folder(folder: Path, source: str, variant: str | None = None) -> RawCheckpoint:
    """Read headers and configs of a folder with a `model_index.json`; components without the `variant` are read plain.

    Raises CheckpointError, and MissingVariant if no component has it.
    """
    index = Section(read_json(folder / INDEX_NAME), f"{folder / INDEX_NAME}")
    form = index.choice("_class_name", {form.pipeline: form for form in _forms()})
    if variant and not any(variant_files(folder / name, STEM, variant) for name in form.weighted):
        raise MissingVariant(
            f"You are trying to load the model files of the `variant={variant}`, but {source} has none; leave it out"
        )
    _check_classes(index, form)
    limit = tokenizer_limit(folder / "tokenizer", TextCondition.max_tokens)
    spec = Spec.of(form.read(partial(_section, folder), limit))
    published = published_weights(spec)
    files: tuple[Path, ...] = ()
    weights: Weights = {}
    for component in form.weighted:
        path = find_component(folder / component, STEM, variant)
        found = {f"{component}.{name}": t for name, t in read_component(path).items()}
        weights |= with_old_weight_norm(found)
        files += (*component_files(path), folder / component / "config.json")
    check_weights(weights, to_diffusers(published, spec), folder)
    weights = from_diffusers(weights, spec)
    spec = as_stored(spec, weights)
    return RawCheckpoint("diffusers", source, spec, weights, files, folder)


def read_diffusers_autoencoder(
    folder: Path, source: str, variant: str | None = None
) -> RawCheckpoint:
    """Read header and config of a folder that holds an autoencoder alone. Raises CheckpointError."""
    path = folder / CONFIG_NAME
    section = Section(read_json(path), str(path))
    form = section.choice("_class_name", {form.class_name: form for form in autoencoder_forms()})
    spec = Spec(*form.read(section))
    file = find_component(folder, STEM, variant)
    found = {f"vae.{name}": tensor for name, tensor in read_component(file).items()}
    weights = with_old_weight_norm(found)
    check_weights(weights, to_diffusers(published_weights(spec), spec), folder)
    files = (*component_files(file), path)
    return RawCheckpoint("diffusers", source, spec, from_diffusers(weights, spec), files, folder)


def _forms() -> tuple[DiffusersForm, ...]:
    return tuple(family.diffusers for family in FAMILIES if family.diffusers is not None)


def _check_classes(index: Section, form: DiffusersForm) -> None:
    """Raise CheckpointError for a component of another class. Components may be absent, and tokenizers of any class."""
    for name, expected in form.components.items():
        found = index.value(name, list(expected))
        absent = found == [None, None]
        if name != "tokenizer" and not absent and found[1:] != [expected[1]]:
            raise index.error(name, f"is {found!r:.120}; only {expected[1]} is supported")


def _section(folder: Path, component: str) -> Section | None:
    """Open the config of a component; the scheduler may have none."""
    path = _config_path(folder, component)
    if component == "scheduler" and not path.is_file():
        return None
    return Section(read_json(path), str(path))


def _config_path(folder: Path, component: str) -> Path:
    return folder / (SCHEDULER if component == "scheduler" else f"{component}/config.json")


def require_expressible(spec: Spec) -> tuple[ModelConfig, DiffusersForm]:
    """Return a model's config and its form. Raises CheckpointError that says why it has none."""
    config, family = spec.model, family_of(spec.autoencoder)
    if config is None:
        reason = "an autoencoder alone"
    elif not config.is_conditional:
        reason = "an unconditional model"
    elif family.diffusers is None:
        reason = f"a model with {family.autoencoder.title}"
    elif refusals := family.diffusers.refusals(config):
        reason = f"a model with {refusals[0]}"
    else:
        return config, family.diffusers
    raise CheckpointError(f"{reason} has no diffusers form; use single-file")


def write_diffusers_autoencoder(folder: Path, raw: RawCheckpoint) -> None:
    """Write an autoencoder alone, values bit for bit. Raises CheckpointError if it has no such form."""
    kind = family_of(raw.spec.autoencoder).autoencoder
    refusals = kind.diffusers.refusals(raw.spec.autoencoder) if kind.diffusers else []
    if kind.diffusers is None or refusals:
        reason = f"{kind.title} with {refusals[0]}" if refusals else f"{kind.title} alone"
        raise CheckpointError(f"{reason} has no diffusers form; use single-file")
    weights = to_diffusers(raw.weights, raw.spec)
    plain = {name.removeprefix("vae."): tensor for name, tensor in weights.items()}
    write_safetensors(folder / f"{STEM}.safetensors", plain)
    head = {"_class_name": kind.diffusers.class_name, "_diffusers_version": VERSION}
    data = kind.diffusers.to_json(raw.spec.audio, raw.spec.autoencoder)
    write_json(folder / CONFIG_NAME, head | data)


def write_diffusers(folder: Path, raw: RawCheckpoint, text_encoder: TextEncoderFolders) -> None:
    """Write the whole layout into `folder`, values bit for bit. Raises CheckpointError if the model has no such form."""
    config, form = require_expressible(raw.spec)
    weights = to_diffusers(raw.weights, raw.spec)
    for component in form.weighted:
        start = f"{component}."
        part = {n.removeprefix(start): t for n, t in weights.items() if n.startswith(start)}
        write_safetensors(folder / component / f"{STEM}.safetensors", part)
    index = {"_class_name": form.pipeline, "_diffusers_version": VERSION}
    write_json(folder / INDEX_NAME, index | {n: list(c) for n, c in form.components.items()})
    for component, data in form.to_json(config).items():
        head = {"_class_name": form.components[component][1], "_diffusers_version": VERSION}
        write_json(_config_path(folder, component), head | data)
    if raw.layout == "diffusers" and (raw.folder / SCHEDULER).is_file():
        write_json(folder / SCHEDULER, read_json(raw.folder / SCHEDULER))
    target = TextEncoderFolders(folder / "text_encoder", folder / "tokenizer")
    text_encoder_kind(config).copy(text_encoder, target, config.text.max_tokens)

"""The diffusers layout: a folder per component, each with its own config and weights.

It can express Stable Audio Open 1.0 and models of its shape (v objective, prepended global conditioning, one range for
both timing embedders); `write_diffusers` refuses the rest by naming what does not fit. Diffusers' own autoencoder class ties the encoder's width to twice the latent channels:
folders of other widths are written and read here all the same, but not by it.
"""

from pathlib import Path

from auralith.checkpoints.config_json import Json, Spec
from auralith.checkpoints.diffusers_config import (
    ProjectionConfig,
    projection_json,
    read_projection,
    read_scheduler,
    read_transformer,
    read_vae,
    scheduler_json,
    transformer_json,
    vae_json,
)
from auralith.checkpoints.sections import Section
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.checkpoints.tensors import (
    Weights,
    component_files,
    find_component,
    read_component,
    read_json,
    variant_files,
    write_json,
    write_safetensors,
)
from auralith.checkpoints.text_encoder import (
    TextEncoderFolders,
    copy_text_encoder,
    tokenizer_limit,
)
from auralith.checkpoints.transform import (
    as_stored,
    check_weights,
    from_diffusers,
    published_weights,
    to_diffusers,
    with_old_weight_norm,
)
from auralith.config import (
    T5_WIDTHS,
    ModelConfig,
    NumberCondition,
    OobleckConfig,
    SamplingDefaults,
    TextCondition,
)
from auralith.errors import CheckpointError

INDEX_NAME = "model_index.json"
VERSION = "0.30.0.dev0"  # the version that the published folder names
STEM = "diffusion_pytorch_model"
SCHEDULER = "scheduler/scheduler_config.json"
COMPONENTS = {
    "projection_model": ["stable_audio", "StableAudioProjectionModel"],
    "scheduler": ["diffusers", "CosineDPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "StableAudioDiTModel"],
    "vae": ["diffusers", "AutoencoderOobleck"],
}
WEIGHTED = ("transformer", "vae", "projection_model")


class MissingVariant(CheckpointError, ValueError):
    """No component has files of the variant; a ValueError to programs written for diffusers."""


def read_diffusers_folder(folder: Path, source: str, variant: str | None = None) -> RawCheckpoint:
    """Read headers and configs of a folder with a `model_index.json`; components without the `variant` are read plain.

    Raises CheckpointError, and MissingVariant if no component has it.
    """
    if variant and not any(variant_files(folder / name, STEM, variant) for name in WEIGHTED):
        raise MissingVariant(
            f"You are trying to load the model files of the `variant={variant}`, but {source} has none; leave it out"
        )
    index = Section(read_json(folder / INDEX_NAME), f"{folder / INDEX_NAME}")
    index.require("_class_name", "StableAudioPipeline")
    _check_classes(index)
    spec = Spec.of(_read_config(folder))
    published = published_weights(spec)
    files: tuple[Path, ...] = ()
    weights: Weights = {}
    for component in WEIGHTED:
        path = find_component(folder / component, STEM, variant)
        found = {f"{component}.{name}": t for name, t in read_component(path).items()}
        weights |= with_old_weight_norm(found)
        files += (*component_files(path), folder / component / "config.json")
    check_weights(weights, to_diffusers(published, spec), folder)
    weights = from_diffusers(weights, spec)
    spec = as_stored(spec, weights)
    return RawCheckpoint("diffusers", source, spec, weights, files, folder)


def _check_classes(index: Section) -> None:
    """Raise CheckpointError for a component of another class. Components may be absent, and tokenizers of any class."""
    for name, expected in COMPONENTS.items():
        found = index.value(name, expected)
        absent = found == [None, None]
        if name != "tokenizer" and not absent and found[1:] != expected[1:]:
            raise index.error(name, f"is {found!r:.120}; only {expected[1]} is supported")


def _section(folder: Path, component: str, name: str = "config.json") -> Section:
    path = folder / component / name
    return Section(read_json(path), str(path))


def _read_config(folder: Path) -> ModelConfig:
    audio, autoencoder = read_vae(_section(folder, "vae"))
    transformer = _section(folder, "transformer")
    dit, frames = read_transformer(transformer)
    projection = read_projection(_section(folder, "projection_model"))
    for key in ("in_channels", "out_channels"):
        transformer.require(key, audio.latent_channels, 64)
    transformer.require("cross_attention_input_dim", projection.dim, 768)
    transformer.require("global_states_input_dim", 2 * projection.dim, 1536)
    if any(stride % 2 for stride in autoencoder.strides):
        raise CheckpointError(f"{folder / 'vae'}: downsampling_ratios must be even")
    return ModelConfig(
        audio=audio,
        window_samples=int(frames * audio.samples_per_frame),
        autoencoder=autoencoder,
        dit=dit,
        conditions=(
            TextCondition(
                encoder=_encoder_name(projection.text_dim),
                max_tokens=tokenizer_limit(folder / "tokenizer", 128),
                projected_from=projection.projected_from,
            ),
            *projection.numbers,
        ),
        condition_dim=projection.dim,
        sampling=_read_sampling(folder),
    )


def _encoder_name(width: int) -> str:
    """The first T5 of that width, as the folder itself names none; published models have the base one."""
    return next((name for name, dim in T5_WIDTHS.items() if dim == width), TextCondition.encoder)


def _read_sampling(folder: Path) -> SamplingDefaults:
    if not (folder / SCHEDULER).is_file():
        return SamplingDefaults()
    return read_scheduler(_section(folder, "scheduler", "scheduler_config.json"))


def require_expressible(spec: Spec) -> ModelConfig:
    """Raise a CheckpointError that says why a model has no diffusers form."""
    config, autoencoder = spec.model, spec.autoencoder
    if config is None:
        raise CheckpointError("an autoencoder alone has no diffusers form; use single-file")
    if not config.is_conditional:
        raise CheckpointError("an unconditional model has no diffusers form; use single-file")
    numbers = spec.numbers
    ids = (config.text.id, "seconds_start", "seconds_total")
    reasons = {
        f"objective {config.objective!r}": config.objective != "v",
        "LayerNorm on queries and keys": config.dit.qk_norm != "none",
        "adaLN conditioning": config.dit.global_conditioning != "prepend",
        "learned positions": config.dit.max_positions > 0,
        "an unprojected global embedding": not config.dit.project_global,
        "a spectral autoencoder": not isinstance(autoencoder, OobleckConfig),
        "input channels for inpainting": bool(config.input_ids),
        "a latent scale": config.latent_scale != 1.0,
        "a shift of timesteps": config.distribution_shift is not None,
        "conditioning other than text, seconds_start and seconds_total": (
            config.context_ids != ids or config.global_ids != ids[1:]
        ),
        "different ranges of the timing embedders": (
            len({(number.minimum, number.maximum) for number in numbers}) != 1
        ),
        f"rotary positions in {config.dit.rotary_dim} of {config.dit.head_dim} dimensions": (
            2 * config.dit.rotary_dim != config.dit.head_dim
        ),
        f"norms with an epsilon of {config.dit.norm_eps}": config.dit.norm_eps != 1e-5,
        "a text projection between equal widths": config.text.projected_from
        == config.condition_dim,
    }
    if isinstance(autoencoder, OobleckConfig):
        same = autoencoder.encoder_multiples == autoencoder.decoder_multiples
        reasons["different multiples of encoder and decoder"] = not same
        reasons["a final tanh"] = autoencoder.final_tanh or autoencoder.soft_clip
    for reason, applies in reasons.items():
        if applies:
            raise CheckpointError(f"a model with {reason} has no diffusers form; use single-file")
    return config


def write_diffusers(folder: Path, raw: RawCheckpoint, text_encoder: TextEncoderFolders) -> None:
    """Write the whole layout into `folder`, values bit for bit. Raises CheckpointError if the model has no such form."""
    config = require_expressible(raw.spec)
    weights = to_diffusers(raw.weights, raw.spec)
    for component in WEIGHTED:
        start = f"{component}."
        part = {n.removeprefix(start): t for n, t in weights.items() if n.startswith(start)}
        write_safetensors(folder / component / f"{STEM}.safetensors", part)
    for name, data in _config_files(config).items():
        write_json(folder / name, data)
    if raw.layout == "diffusers" and (raw.folder / SCHEDULER).is_file():
        write_json(folder / SCHEDULER, read_json(raw.folder / SCHEDULER))
    target = TextEncoderFolders(folder / "text_encoder", folder / "tokenizer")
    copy_text_encoder(text_encoder, target, config.text.max_tokens)


def _config_files(config: ModelConfig) -> dict[str, Json]:
    def head(component: str) -> Json:
        return {"_class_name": COMPONENTS[component][1], "_diffusers_version": VERSION}

    autoencoder = config.autoencoder
    assert isinstance(autoencoder, OobleckConfig)  # as require_expressible has checked
    number = next(c for c in config.conditions if isinstance(c, NumberCondition))
    projection = ProjectionConfig(
        config.text_width, config.condition_dim, number.minimum, number.maximum
    )
    frames = config.window_samples / config.audio.samples_per_frame
    index = {"_class_name": "StableAudioPipeline", "_diffusers_version": VERSION} | COMPONENTS
    return {
        INDEX_NAME: index,
        "transformer/config.json": head("transformer") | transformer_json(config.dit, frames),
        "vae/config.json": head("vae") | vae_json(config.audio, autoencoder),
        "projection_model/config.json": head("projection_model") | projection_json(projection),
        SCHEDULER: head("scheduler") | scheduler_json(config.sampling),
    }

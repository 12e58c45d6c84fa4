"""`model_config.json` ↔ `ModelConfig`. Absent keys mean what they mean to the reference, not what 1.0 happens to use.

Only what the networks here implement is accepted; everything else is refused by the name of its key, because a config
that is half understood gives noise without an error. `IRRELEVANT` lists the keys that change nothing. What describes a
kind of network is read and written by the model's family. Two extensions are ours: an autoencoder of type "spectral",
and a top-level object "auralith" with the model's sampling defaults.
"""

from dataclasses import asdict
from pathlib import Path
from typing import get_args

from torch.nn import ModuleDict

from auralith.config import (
    INPAINT_INPUTS,
    AudioFormat,
    AutoencoderConfig,
    Condition,
    DistributionShift,
    ModelConfig,
    ObjectiveName,
    SamplingDefaults,
)
from auralith.errors import CheckpointError
from auralith.families.family import Family, Inputs, Spec
from auralith.families.registry import described_family, family_of
from auralith.families.sections import IRRELEVANT, Section, read_fields
from auralith.foreign import Json

MODEL_TYPES = {
    "diffusion_cond": "model",
    "diffusion_cond_inpaint": "inpainting",
    "diffusion_uncond": "unconditional",
    "autoencoder": "autoencoder",
}


def spec_from_json(data: Json, path: str | Path = "model_config.json") -> Spec:
    """A config of model_type "diffusion_cond" or "autoencoder". Raises CheckpointError naming `path` and the key."""
    root = Section(data, str(path))
    root.ignore(*IRRELEVANT["model_config"])
    kind = root.choice("model_type", MODEL_TYPES)
    if kind == "unconditional":
        spec = Spec.of(_unconditional(root))
    elif kind == "autoencoder":
        spec = Spec(*_autoencoder(root, root.section("model")))
        root.ignore("sample_size")  # the length of the crops that it was trained on
    else:
        spec = Spec.of(_model(root))
    root.finish()
    return spec


def config_from_json(data: Json, path: str | Path = "model_config.json") -> ModelConfig:
    """The config of a whole model. Raises CheckpointError naming `path` and the key."""
    spec = spec_from_json(data, path)
    if spec.model is None:
        raise CheckpointError(f"{path} describes only an autoencoder; a whole model is needed")
    return spec.model


def _pretransform(root: Section, model: Section) -> tuple[AudioFormat, AutoencoderConfig, float]:
    """The autoencoder of a whole model, and what its latents are divided by."""
    pretransform = model.section("pretransform")
    pretransform.expect("type", "autoencoder")
    pretransform.expect("enable_grad", False, False)
    pretransform.ignore(*IRRELEVANT["pretransform"])
    scale = pretransform.number("scale", 1.0)
    if not scale > 0:
        raise pretransform.error("scale", f"must be above 0, not {scale}")
    audio, autoencoder = _autoencoder(root, pretransform.section("config"))
    pretransform.finish()
    return audio, autoencoder, scale


def _autoencoder(root: Section, section: Section) -> tuple[AudioFormat, AutoencoderConfig]:
    """Return the config of the autoencoder in `section`, and the audio format that `root` and the autoencoder agree on."""
    sample_rate, channels = root.integer("sample_rate"), root.integer("audio_channels", 2)
    config = described_family(section).autoencoder.read(section)
    if config.sample_rate not in (None, sample_rate):
        raise root.error("sample_rate", f"must be the autoencoder's {config.sample_rate}")
    if config.channels != channels:
        raise root.error("audio_channels", f"must be the autoencoder's {config.channels}")
    audio = AudioFormat(sample_rate, channels, config.latent_channels, config.samples_per_frame)
    return audio, config


def _unconditional(root: Section) -> ModelConfig:
    """A model of type "diffusion_uncond": its transformer knows the timestep and nothing else."""
    model = root.section("model")
    audio, autoencoder, scale = _pretransform(root, model)
    model.expect("type", "dit")
    section = model.section("config")
    family = family_of(autoencoder)
    objective = section.choice("diffusion_objective", _objectives(family), "v")
    dit = family.transformer.read(section, False)
    model.finish()
    if dit.latent_channels != audio.latent_channels:
        raise section.error("in_channels", f"must be the autoencoder's {audio.latent_channels}")
    return ModelConfig(
        audio=audio,
        window_samples=root.integer("sample_size"),
        autoencoder=autoencoder,
        latent_scale=scale,
        dit=dit,
        objective=objective,
        conditions=(),
        condition_dim=0,
        context_ids=(),
        global_ids=(),
        sampling=family.sampling[objective],
    )


def _model(root: Section) -> ModelConfig:
    model = root.section("model")
    audio, autoencoder, scale = _pretransform(root, model)
    family = family_of(autoencoder)
    model.expect("io_channels", audio.latent_channels)
    conditioning, diffusion = model.section("conditioning"), model.section("diffusion")
    diffusion.expect("type", "dit")
    diffusion.expect("prepend_cond_ids", [], [])
    objective = diffusion.choice("diffusion_objective", _objectives(family), "v")
    extension = root.section("auralith", optional=True)
    extension.ignore("quantization")  # describes the file: checkpoints.quantization
    conditioning.expect("pre_encoded_keys", [], [])
    config = ModelConfig(
        audio=audio,
        window_samples=root.integer("sample_size"),
        autoencoder=autoencoder,
        latent_scale=scale,
        dit=family.transformer.read(diffusion.section("config"), True),
        objective=objective,
        conditions=tuple(
            _condition(entry, family, conditioning.integer("cond_dim"))
            for entry in conditioning.sections("configs")
        ),
        condition_dim=conditioning.integer("cond_dim"),
        context_ids=diffusion.strings("cross_attention_cond_ids"),
        global_ids=diffusion.strings("global_cond_ids"),
        distribution_shift=_shift(diffusion),
        shifts_by_sound=_length_flag(diffusion, "shifts_by_sound", family),
        masks_padding=_length_flag(diffusion, "masks_padding", family),
        input_ids=_input_ids(diffusion, family),
        default_keys=conditioning.names("default_keys"),
        sampling=read_fields(extension.section("sampling"), SamplingDefaults)
        if "sampling" in extension
        else family.sampling[objective],
    )
    for section in (model, conditioning, diffusion, extension):
        section.finish()
    _check_model(config, diffusion)
    _check_inputs(config, root, diffusion, family.transformer.inputs)
    return config


def _objectives(family: Family) -> dict[str, ObjectiveName]:
    return {name: name for name in family.sampling}


def _input_ids(diffusion: Section, family: Family) -> tuple[str, ...]:
    """The inputs beside the latents, which come in as the family's transformer takes them."""
    for inputs in get_args(Inputs):
        if inputs != family.transformer.inputs:
            diffusion.expect(f"{inputs}_ids", [], [])
    return diffusion.strings(f"{family.transformer.inputs}_ids", ())


LENGTH_FLAGS = {
    "shifts_by_sound": "use_effective_length_for_schedule",
    "masks_padding": "mask_padding_attention",
}
"""Fields of `ModelConfig` and their published keys, of models that are trained on sounds of their own lengths."""


def _length_flag(diffusion: Section, field: str, family: Family) -> bool:
    return family.transformer.has_lengths and diffusion.flag(LENGTH_FLAGS[field], False)


def _shift(diffusion: Section) -> DistributionShift | None:
    """The shift of timesteps; an empty object means the reference's defaults, an absent one none."""
    if "distribution_shift_options" not in diffusion:
        diffusion.ignore("distribution_shift_options")
        return None
    stated = diffusion.section("distribution_shift_options")
    stated.expect("type", "full", "full")
    section = Section({k: v for k, v in stated.data.items() if k != "type"}, stated.path)
    shift = read_fields(section, DistributionShift)
    if not 0 <= shift.min_length < shift.max_length:
        raise section.error("min_length", "must be at least 0 and below max_length")
    return shift


def _check_model(config: ModelConfig, diffusion: Section) -> None:
    """Raise CheckpointError where the parts don't fit each other."""
    dit, ids = config.dit, [condition.id for condition in config.conditions]
    numbers = [condition.id for condition in config.numbers]
    if len(ids) - len(numbers) != 1 or len(set(ids)) != len(ids):
        raise CheckpointError(
            f"{diffusion.path}: exactly one text condition and distinct ids needed"
        )
    if not config.context_ids or not set(config.context_ids) <= set(ids):
        raise diffusion.error("cross_attention_cond_ids", f"must name conditions among {ids}")
    if not set(config.global_ids) <= set(ids) or not set(config.global_ids) & set(numbers):
        raise diffusion.error("global_cond_ids", f"must name conditions, one of {numbers} at least")
    widths = {
        "io_channels": (dit.latent_channels, config.audio.latent_channels),
        "cond_token_dim": (dit.context_dim, config.condition_dim),
        "global_cond_dim": (dit.global_dim, config.condition_dim * len(config.global_ids)),
    }
    for key, (found, needed) in widths.items():
        if found != needed:
            raise diffusion.error(f"config.{key}", f"is {found}, but the other parts need {needed}")


def _check_inputs(config: ModelConfig, root: Section, diffusion: Section, inputs: Inputs) -> None:
    """Raise CheckpointError where the input channels are not those of the model type."""
    ids, found = config.input_ids, config.dit.extra_channels
    if not set(ids) <= set(INPAINT_INPUTS) or len(set(ids)) != len(ids):
        raise diffusion.error(
            f"{inputs}_ids", f"is {list(ids)!r:.80}; supported: {', '.join(INPAINT_INPUTS)}"
        )
    kind = "diffusion_cond_inpaint" if ids else "diffusion_cond"
    if root.value("model_type") != kind:
        raise root.error("model_type", f"must be {kind!r} with {inputs}_ids {list(ids)}")
    if found != config.extra_channels:
        raise diffusion.error(
            f"config.{inputs}_dim", f"is {found}, but its inputs need {config.extra_channels}"
        )


def _condition(entry: Section, family: Family, width: int) -> Condition:
    kind = entry.choice("type", {name: name for name in family.conditions})
    name, section = entry.identifier("id"), entry.section("config", optional=True)
    if hasattr(ModuleDict, name):
        raise entry.error("id", f"is the reserved name {name!r}")
    entry.finish()
    condition = family.conditions[kind].read(name, section, width)
    section.finish()
    return condition


def spec_to_json(spec: Spec) -> Json:
    """Return the `model_config.json` of a checkpoint's contents; `spec_from_json` reads it back unchanged."""
    family, audio = family_of(spec.autoencoder), spec.audio
    autoencoder = family.autoencoder.to_json(spec.autoencoder)
    head = {"sample_rate": audio.sample_rate, "audio_channels": audio.channels}
    config = spec.model
    if config is None:
        return {"model_type": "autoencoder", **head, "model": autoencoder}
    pretransform: Json = {"type": "autoencoder", "iterate_batch": True, "config": autoencoder}
    if config.latent_scale != 1.0:
        pretransform["scale"] = config.latent_scale
    if not config.is_conditional:
        dit = family.transformer.to_json(config.dit) | {"diffusion_objective": config.objective}
        model = {"type": "dit", "config": dit, "pretransform": pretransform}
        return {
            "model_type": "diffusion_uncond",
            "sample_size": config.window_samples,
            **head,
            "model": model,
        }
    conditioning: Json = {
        "configs": [_condition_json(condition, family) for condition in config.conditions],
        "cond_dim": config.condition_dim,
    }
    if config.default_keys:
        conditioning["default_keys"] = dict(config.default_keys)
    diffusion: Json = {
        "cross_attention_cond_ids": list(config.context_ids),
        "global_cond_ids": list(config.global_ids),
        "type": "dit",
        "diffusion_objective": config.objective,
        "config": family.transformer.to_json(config.dit),
    }
    if config.distribution_shift is not None:
        diffusion["distribution_shift_options"] = _shift_json(config.distribution_shift)
    diffusion |= {key: True for field, key in LENGTH_FLAGS.items() if getattr(config, field)}
    kind = "diffusion_cond"
    if config.input_ids:
        kind = "diffusion_cond_inpaint"
        diffusion[f"{family.transformer.inputs}_ids"] = list(config.input_ids)
    data: Json = {"model_type": kind, "sample_size": config.window_samples, **head}
    data["model"] = {
        "pretransform": pretransform,
        "conditioning": conditioning,
        "diffusion": diffusion,
        "io_channels": audio.latent_channels,
    }
    if config.sampling != family.sampling[config.objective]:
        data["auralith"] = {"sampling": asdict(config.sampling)}
    return data


def _shift_json(shift: DistributionShift) -> Json:
    values = asdict(shift)
    for name in ("min_length", "max_length"):
        if float(values[name]).is_integer():
            values[name] = int(values[name])
    return values


def config_to_json(config: ModelConfig) -> Json:
    """Return the `model_config.json` of a whole model."""
    return spec_to_json(Spec.of(config))


def _condition_json(condition: Condition, family: Family) -> Json:
    config = family.conditions[condition.kind].to_json(condition)
    return {"id": condition.id, "type": condition.kind, "config": config}

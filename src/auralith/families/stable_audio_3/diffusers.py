"""The configs of a diffusers folder of Stable Audio 3, one JSON object per component, both ways.

Diffusers has medium and its -base; its autoencoder is SAME-L's. The window and how a model was trained are not in the
folder: they are read as published. What diffusers computes otherwise is told in docs/stable-audio-3.md.
"""

from collections.abc import Callable
from functools import partial

import torch

from auralith.config import (
    INPAINT_INPUTS,
    DistributionShift,
    MemoryDiTConfig,
    ModelConfig,
    NumberCondition,
    ObjectiveName,
    SameConfig,
    TextCondition,
)
from auralith.families.family import DiffusersForm
from auralith.families.sections import Section
from auralith.families.stable_audio_3.autoencoder import DIFFUSERS as SAME_FORM
from auralith.families.stable_audio_3.conditions import EMBEDDER
from auralith.families.stable_audio_3.sampling import SAMPLING
from auralith.families.stable_audio_3.transformer import LARGEST_DEPTH, LARGEST_MULTIPLE, NORM_EPS
from auralith.foreign import Json
from auralith.models.embedders import (
    HIGHEST_FREQUENCY,
    LOWEST_FREQUENCY,
    geometric_frequencies,
)
from auralith.models.lazy_tensor import LazyTensor, Weights
from auralith.models.memory_dit import TIMESTEP_FEATURES
from auralith.text.t5gemma import SUBFOLDERS

PROMPT, SECONDS = "prompt", "seconds_total"
WINDOW_FRAMES = 4_096
FEATURES = 256
"""Features that the seconds are embedded in."""
SCHEDULER = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "invert_sigmas": False,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "shift": 1.0,
    "shift_terminal": None,
    "time_shift_type": "exponential",
    "use_beta_sigmas": False,
    "use_dynamic_shifting": False,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}
SCHEDULER_CLASS = "FlowMatchEulerDiscreteScheduler"
COMPONENTS = {
    EMBEDDER: ("stable_audio_3", "StableAudio3DurationEmbedder"),
    "scheduler": ("diffusers", SCHEDULER_CLASS),
    "text_encoder": ("transformers", "T5GemmaEncoderModel"),
    "tokenizer": ("transformers", "GemmaTokenizerFast"),
    "transformer": ("diffusers", "StableAudio3DiTModel"),
    "vae": ("diffusers", SAME_FORM.class_name),
}


def _read_transformer(section: Section) -> MemoryDiTConfig:
    section.expect("patch_size", 1, 1)
    section.expect("timestep_features_dim", TIMESTEP_FEATURES, TIMESTEP_FEATURES)
    multiple = section.number("ff_mult", 4.0)
    if not 0 < multiple <= LARGEST_MULTIPLE:
        raise section.error("ff_mult", f"must be above 0, up to {LARGEST_MULTIPLE}")
    config = MemoryDiTConfig(
        latent_channels=section.integer("io_channels", 256),
        embed_dim=section.integer("embed_dim", 1_536),
        depth=section.integer("depth", 24, maximum=LARGEST_DEPTH),
        num_heads=section.integer("num_heads", 24),
        context_dim=section.integer("cond_token_dim", 768),
        global_dim=section.integer("global_cond_dim", 768),
        extra_channels=section.integer("local_add_cond_dim", 257),
        num_memory_tokens=section.integer("num_memory_tokens", 64),
        differential=section.flag("use_differential_attention", True),
        hidden_multiple=multiple,
    )
    if config.embed_dim % config.num_heads:
        raise section.error("embed_dim", f"must divide into num_heads, {config.num_heads}")
    if config.head_dim % 4 or config.head_dim < 64:
        raise section.error("num_heads", "must give heads of at least 64, a multiple of 4")
    _finish(section)
    return config


def _transformer_json(dit: MemoryDiTConfig) -> Json:
    return {
        "cond_token_dim": dit.context_dim,
        "depth": dit.depth,
        "embed_dim": dit.embed_dim,
        "ff_mult": dit.hidden_multiple,
        "global_cond_dim": dit.global_dim,
        "io_channels": dit.latent_channels,
        "local_add_cond_dim": dit.extra_channels,
        "num_heads": dit.num_heads,
        "num_memory_tokens": dit.num_memory_tokens,
        "patch_size": 1,
        "timestep_features_dim": TIMESTEP_FEATURES,
        "use_differential_attention": dit.differential,
    }


def _read_seconds(section: Section) -> tuple[NumberCondition, int]:
    """Return the condition and its width."""
    section.expect("fourier_dim", FEATURES, FEATURES)
    section.expect("min_freq", LOWEST_FREQUENCY, LOWEST_FREQUENCY)
    section.expect("max_freq", HIGHEST_FREQUENCY, HIGHEST_FREQUENCY)
    condition = NumberCondition(
        SECONDS, section.number("min_val", 0.0), section.number("max_val", 384.0)
    )
    if not condition.minimum < condition.maximum:
        raise section.error("max_val", "must be above min_val")
    width = section.integer("output_dim", 768)
    _finish(section)
    return condition, width


def _read_objective(section: Section | None) -> ObjectiveName:
    """Return the objective, of which diffusers knows that post-trained models draw noise at each step."""
    if section is None:
        return "rectified_flow"
    section.expect("_class_name", SCHEDULER_CLASS, SCHEDULER_CLASS)
    for key, value in SCHEDULER.items():
        section.expect(key, value, value)
    section.integer("num_train_timesteps", 1)
    draws = section.flag("stochastic_sampling", False)
    _finish(section)
    return "rf_denoiser" if draws else "rectified_flow"


def _finish(section: Section) -> None:
    section.ignore(*(key for key in section.data if key.startswith("_")))
    section.finish()


def _read(component: Callable[[str], Section | None], max_tokens: int) -> ModelConfig:
    vae, transformer, embedder = map(component, ("vae", "transformer", EMBEDDER))
    assert vae is not None and transformer is not None and embedder is not None
    audio, autoencoder = SAME_FORM.read(vae)
    dit = _read_transformer(transformer)
    seconds, width = _read_seconds(embedder)
    channels = audio.latent_channels
    transformer.expect("io_channels", channels, 256)
    transformer.expect("local_add_cond_dim", channels + 1, 257)
    for key in ("cond_token_dim", "global_cond_dim"):
        transformer.expect(key, width, 768)
    objective = _read_objective(component("scheduler"))
    return ModelConfig(
        audio=audio,
        window_samples=WINDOW_FRAMES * audio.samples_per_frame,
        autoencoder=autoencoder,
        dit=dit,
        objective=objective,
        conditions=(
            TextCondition(PROMPT, "", max_tokens, kind="t5gemma", subfolder=SUBFOLDERS[0]),
            seconds,
        ),
        condition_dim=width,
        context_ids=(PROMPT, SECONDS),
        global_ids=(SECONDS,),
        distribution_shift=DistributionShift(),
        shifts_by_sound=True,
        masks_padding=True,
        input_ids=INPAINT_INPUTS,
        sampling=SAMPLING[objective],
    )


def _refusals(config: ModelConfig) -> list[str]:
    autoencoder, dit = config.autoencoder, config.dit
    assert isinstance(autoencoder, SameConfig) and isinstance(dit, MemoryDiTConfig)  # the family's
    reasons = {
        "a latent scale": config.latent_scale != 1.0,
        "conditioning other than a prompt and seconds_total": (
            config.context_ids != (PROMPT, SECONDS) or config.global_ids != (SECONDS,)
        ),
        "another local condition than a mask and what it keeps": config.input_ids != INPAINT_INPUTS,
        f"norms with an epsilon of {dit.norm_eps}": dit.norm_eps != NORM_EPS,
        "no memory tokens": dit.num_memory_tokens == 0,
        f"heads of {dit.head_dim}": dit.head_dim < 64,
    }
    found = [reason for reason, applies in reasons.items() if applies]
    return SAME_FORM.refusals(autoencoder) + found


def _to_json(config: ModelConfig) -> dict[str, Json]:
    autoencoder, dit, number = config.autoencoder, config.dit, config.numbers[0]
    assert isinstance(autoencoder, SameConfig) and isinstance(dit, MemoryDiTConfig)  # the family's
    return {
        "transformer": _transformer_json(dit),
        "vae": SAME_FORM.to_json(config.audio, autoencoder),
        EMBEDDER: {
            "fourier_dim": FEATURES,
            "max_freq": HIGHEST_FREQUENCY,
            "max_val": number.maximum,
            "min_freq": LOWEST_FREQUENCY,
            "min_val": number.minimum,
            "output_dim": config.condition_dim,
        },
        "scheduler": SCHEDULER
        | {"num_train_timesteps": 1, "stochastic_sampling": config.objective == "rf_denoiser"},
    }


def _buffers(config: ModelConfig) -> Weights:
    """Make the frequencies of the seconds, which only diffusers stores."""
    read = partial(geometric_frequencies, FEATURES // 2, torch.device("cpu"))
    return {f"{EMBEDDER}.freqs": LazyTensor((FEATURES // 2,), torch.float32, read)}


DIFFUSERS = DiffusersForm(
    pipeline="StableAudio3Pipeline",
    components=COMPONENTS,
    weighted=("transformer", "vae", EMBEDDER),
    read=_read,
    to_json=_to_json,
    refusals=_refusals,
    buffers=_buffers,
)

"""The `training` section of a model's config: which of its keys fine-tuning follows, and which it does not.

The section is that of stable-audio-tools. `follow_training` turns it into settings that a user's own replace; for every
key there is a line that says what became of it. A family may have one for models without (`Family.training`). An adapter takes the distribution of timesteps, the dropout and the
padding, but not the optimizer, whose rates are meant for all weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from auralith.config import ModelConfig
from auralith.families.registry import family_of
from auralith.families.sections import Section
from auralith.training.dit import DiTSettings
from auralith.training.finetune import FinetuneSettings
from auralith.training.noising import InpaintMasks, TimestepSettings
from auralith.training.optimizers import OptimizerSettings

WHERE = "model_config.json: training"
FAMILY = "published training"
NOT_USED = {
    "pre_encoded": "latents are always computed once, from the recordings",
    "log_loss_info": "validation states the loss at fixed timesteps instead",
    "demo": "use --demo-every and the settings of demo",
    "timestep_sampler_options": "only log_snr has options",
    "arc": "adversarial post-training is not part of fine-tuning",
    "clip_grad_norm": "the published training of transformers reads it for arc only; set optimizer.clip_norm",
}
TIMESTEPS = {
    "uniform": "uniform",
    "logit_normal": "logit_normal",
    "trunc_logit_normal": "truncated_logit_normal",
    # normal in ln((1 - t) / t) = -logit(t), whatever the objective
    "log_snr": "logit_normal",
}
LOG_SNR_MARGIN = 1e-4
Value = TypeVar("Value")


@dataclass(frozen=True)
class Followed:
    """Settings as far as a `training` section decides them, and a line for each of its keys."""

    settings: FinetuneSettings
    used: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    where: str = WHERE

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what to say at the start of a run."""
        return (
            *(f"{self.where}.{line}" for line in self.used),
            *(f"{self.where}.{line} (not used)" for line in self.ignored),
        )


def follow_model(
    settings: FinetuneSettings, config: ModelConfig, training: object
) -> tuple[FinetuneSettings, tuple[str, ...]]:
    """Return the settings changed by what a model's family publishes, then by its own `training` section, and all lines."""
    family = follow_training(settings, family_of(config.autoencoder).training, FAMILY)
    own = follow_training(family.settings, training)
    return own.settings, family.lines + own.lines


def follow_training(settings: FinetuneSettings, training: object, where: str = WHERE) -> Followed:
    """Return the settings changed by a model's `training` section, which is None for a model without one.

    Raises CheckpointError, which names the key, where a value is not what the section's format says.
    """
    if training is None:
        return Followed(settings)
    return _SectionReader(Section(training, where), settings).followed()


class _SectionReader:
    """Reads one section; every method notes what it used."""

    def __init__(self, section: Section, settings: FinetuneSettings) -> None:
        self.section, self.settings = section, settings
        self.used: list[str] = []
        self.ignored: list[str] = []

    def followed(self) -> Followed:
        dit = self._timesteps(self._dit(self.settings.dit))
        optimizer, loop = self._optimizer(), self.settings.loop
        if "use_ema" in self.section:
            ema = self._noted("use_ema", self.section.flag("use_ema"))
            loop = loop if ema else replace(loop, ema="off")
        for name in _unread(self.section):
            self.ignored.append(f"{_shown(name)}: {NOT_USED.get(name, 'not known here')}")
        settings = replace(self.settings, dit=dit, optimizer=optimizer, loop=loop)
        return Followed(settings, tuple(self.used), tuple(self.ignored), self.section.path)

    def _noted(self, key: str, value: Value) -> Value:
        self.used.append(f"{key} = {value}")
        return value

    def _dit(self, dit: DiTSettings) -> DiTSettings:
        names = {
            "cfg_dropout_prob": "condition_dropout",
            "p_one_shot": "one_shot_probability",
            "mask_padding_dropout": "mask_padding_dropout",
            "silence_extension_scale_seconds": "silence_seconds",
            "mask_loss_weight": "kept_weight",
        }
        changes: dict[str, Any] = {
            ours: self._noted(key, self.section.number(key))
            for key, ours in names.items()
            if key in self.section
        }
        if "mask_padding" in self.section:
            changes["mask_padding"] = self._noted("mask_padding", self.section.flag("mask_padding"))
        if "inpainting" in self.section:
            masks = self._masks(self.section.section("inpainting"), dit.inpainting)
            changes["inpainting"] = self._noted("inpainting", masks)
        return replace(dit, **changes)

    def _masks(self, section: Section, masks: InpaintMasks) -> InpaintMasks:
        """The mixture of masks; the reference's shares are of segments, everything and continuations."""
        kwargs = section.section("mask_kwargs", optional=True)
        shares = (masks.segments, masks.everything, masks.continuation)
        read = InpaintMasks(
            *kwargs.numbers("mask_type_probabilities", shares, count=3),
            max_segments=kwargs.integer("max_mask_segments", masks.max_segments),
        )
        for part in (kwargs, section):
            part.finish()
        return read

    def _timesteps(self, dit: DiTSettings) -> DiTSettings:
        if "timestep_sampler" not in self.section:
            return dit  # options alone mean nothing to the reference, either
        name = self.section.text("timestep_sampler")
        kind = self.section.choice("timestep_sampler", TIMESTEPS)
        timesteps = TimestepSettings(self._noted("timestep_sampler", kind))
        if name == "log_snr":
            options = self.section.section("timestep_sampler_options", optional=True)
            mean = self._noted("mean_logsnr", options.number("mean_logsnr", -1.2))
            std = self._noted("std_logsnr", options.number("std_logsnr", 2.0))
            timesteps = replace(timesteps, mean=-mean, std=std, margin=LOG_SNR_MARGIN)
        return replace(dit, timesteps=timesteps)

    def _optimizer(self) -> OptimizerSettings:
        settings, present = self.settings.optimizer, "optimizer_configs" in self.section
        names = [n for n in ("optimizer_configs", "learning_rate") if n in self.section]
        self.section.ignore(*names)
        if self.settings.mode == "lora" and names:
            rate = f"an adapter takes learning rate {settings.learning_rate:g}"
            self.ignored += [f"{name}: {rate}" for name in names]
            return settings
        if not names:
            return settings
        if not present:
            rate = self._noted("learning_rate", self.section.number("learning_rate"))
            return replace(
                settings, learning_rate=rate, weight_decay=0.0, schedule="constant", warmup_steps=0
            )
        if "learning_rate" in self.section:
            self.ignored.append("learning_rate: optimizer_configs replaces it")
        configs = self.section.section("optimizer_configs")
        self.ignored += [
            f"optimizer_configs.{_shown(name)}: not a network of this model"
            for name in sorted(set(configs.data) - {"diffusion"})
        ]
        return self._of_configs(configs.section("diffusion"))

    def _of_configs(self, diffusion: Section) -> OptimizerSettings:
        optimizer = diffusion.section("optimizer")
        kind, values = optimizer.text("type"), optimizer.section("config", optional=True)
        settings = replace(
            self.settings.optimizer, weight_decay=0.0, schedule="constant", warmup_steps=0
        )
        decay = values.number("weight_decay", 0.01 if kind == "AdamW" else 0.0)
        if kind == "AdamW" or (kind in ("Adam", "FusedAdam") and decay == 0):
            settings = replace(
                settings,
                learning_rate=self._noted("optimizer lr", values.number("lr", 1e-3)),
                betas=self._noted("optimizer betas", _betas(values)),
                weight_decay=self._noted("optimizer weight_decay", decay),
            )
            self.ignored += [
                f"optimizer {_shown(name)}: not a setting here" for name in _unread(values)
            ]
        else:
            self.ignored.append(
                f"optimizer_configs.diffusion.optimizer: {_shown(kind)} is not AdamW"
            )
            settings = self.settings.optimizer
        return self._scheduled(settings, diffusion)

    def _scheduled(self, settings: OptimizerSettings, diffusion: Section) -> OptimizerSettings:
        if "scheduler" not in diffusion:
            return settings
        scheduler = diffusion.section("scheduler")
        kind, values = scheduler.text("type"), scheduler.section("config", optional=True)
        if kind != "InverseLR":
            self.ignored.append(
                f"optimizer_configs.diffusion.scheduler: {_shown(kind)} is not InverseLR"
            )
            return settings
        settings = replace(
            settings,
            schedule="inverse",
            gamma=self._noted("scheduler inv_gamma", values.number("inv_gamma", 1.0)),
            power=self._noted("scheduler power", values.number("power", 1.0)),
            warmup=self._noted("scheduler warmup", values.number("warmup", 0.0)),
        )
        self.ignored += [
            f"scheduler {_shown(name)}: not a setting here" for name in _unread(values)
        ]
        return settings


def _betas(values: Section) -> tuple[float, float]:
    match values.value("betas", [0.9, 0.999]):
        case [float() | int() as first, float() | int() as second]:
            return float(first), float(second)
        case other:
            raise values.error("betas", f"must be two numbers, not {other!r:.80}")


def _unread(section: Section) -> Iterator[str]:
    """Yield the keys that have a value which nobody read."""
    return (name for name in sorted(section.data) if name in section and name not in section.known)


def _shown(name: str) -> str:
    """Return a name out of a config for a line of text: quoted and cut unless it is a plain word."""
    return name if name.isidentifier() and len(name) < 60 else f"{name!r:.60}"

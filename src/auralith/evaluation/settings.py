"""Settings of an evaluation: what is measured, on which prompts, against which reference, and how."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from auralith.evaluation.measures import MetricSettings
from auralith.numbers import check_integer
from auralith.sets import SetSettings


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of `evaluate`; with `autoencoder`, only `audio` and `device` count beside it."""

    prompts: str | None = None
    """A table with prompts (and ids), a .txt, or audiocaps, songdescriber, musiccaps; :no-speech, :no-connectors, :neither
    and songdescriber:no-singing are the paper's subsets."""
    models: tuple[str, ...] = ()
    """Model that generates the sounds: Hub name, folder or file, or embedded; repeatable."""
    server: str | None = None
    """URL of a server of auralith serve that generates the sounds; models are then named as it calls them."""
    audio: tuple[Path, ...] = ()
    """Folder of sounds that are there, named by the ids; repeatable."""
    reference: tuple[Path, ...] = ()
    """Folder of reference recordings, published statistics (.npz) or probabilities (.pkl, .safetensors)."""
    autoencoder: str | None = None
    """Measure this model's autoencoder on the recordings of `audio` instead."""
    metrics: tuple[str, ...] = ()
    """fd, fd-inf, kad, kl or clap with an embedder, such as fd-openl3-env, kl-passt, fd-musicnn; repeatable. Left out: the
    paper's for its lists, musicnn's with another reference."""
    controls: bool = False
    """Measure tempo, key, pitch, counts ... that prompts state."""
    limit: int | None = None
    """Take the first prompts only."""
    allow_missing: bool = False
    """Accept ids without a file; they are counted."""
    allow_extra: bool = False
    """Accept files of other ids; they are left out."""
    weights: Path | None = None
    """Folder of the embedders' weights, or of one of them; see auralith weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps. Several, as cuda:0,cuda:1, share the generation; the first one measures."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the embedders. bfloat16 is faster where the processor has it, and another protocol."""
    measures: MetricSettings = field(default_factory=MetricSettings)
    generation: SetSettings = field(default_factory=SetSettings)

    @property
    def measuring_device(self) -> str:
        """Return the device of embedders and codecs."""
        return self.device.split(",")[0]

    def __post_init__(self) -> None:
        check_integer(self, "limit", 1)

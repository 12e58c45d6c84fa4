"""Settings of a worker, and the tasks it is given."""

from dataclasses import asdict, dataclass
from typing import Any

from auralith.adapter_effect import AdapterEffect

OUT_OF_MEMORY = 3
"""Exit code of a worker where memory was short; a new process begins with all of it."""
Json = dict[str, Any]


@dataclass(frozen=True)
class ModelPlace:
    """A model of the server: its name in requests, and what `load` takes."""

    name: str
    source: str | None = None
    text_encoder: str | None = None
    weights: str | None = None
    config: str | None = None


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of a worker."""

    models: tuple[ModelPlace, ...]
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    """Threads that compute on a CPU; torch's own choice if None. Sums end in other bits with another number of them."""
    memory_bytes: int | None = None
    """Most bytes of the weights that are kept; a share of the device's memory if None."""
    sharers: int = 1
    """Workers that share the device's memory."""
    batch: int = 1
    """Most sounds of a job that are made at a time."""
    preload: bool = False
    """Load the models before the first job, the default last, as many as fit."""
    previews: bool = True
    """Make sounds to hear while a job runs."""
    compile: str = "off"
    """Says whether torch compiles the transformer, as `load` takes it."""


@dataclass(frozen=True)
class Task:
    """A job for a worker. Paths are the server's own, never a client's."""

    job: str
    order: Json
    folder: str
    """Folder of the sounds, as JOB-0.wav and so on."""
    source: str | None = None
    source_name: str | None = None
    """Name that stands for the source in messages and in provenance."""
    adapters: tuple[tuple[str, AdapterEffect], ...] = ()
    made: tuple[str, ...] = ()
    """Names of sounds that are there already."""
    previews: str | None = None
    """Folder of the previews, as JOB-1.wav and so on; none are made without one."""
    preview_share: float = 0.0
    """Most of the run's time that previews take."""

    def to_json(self) -> Json:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Json) -> "Task":
        """Return the task of what `to_json` gave."""
        adapters = tuple((path, AdapterEffect(**effect)) for path, effect in values["adapters"])
        return cls(**values | {"adapters": adapters, "made": tuple(values["made"])})

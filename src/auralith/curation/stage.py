"""The contract of a step: a batch of recordings in, one row of evidence for each out.

A step is plain data: its settings, and which recordings it is required for. Loading it gives what makes its stage, here
and in every worker. So a curation is read by its steps alone, and only running one needs weights or an index.

A stage never raises because of a recording: what is wrong with one is a row that says so, with status "error" or
verdict "quarantine" and a reason. It raises `AuralithError` only where nothing can be done at all (a missing
checkpoint, an index of other parameters), and then before it has written anything.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from auralith.curation.store import Key, Store
from auralith.files import canonical_json

Row = Mapping[str, Any]
"""A recording: the columns of `recordings` that the stage asks for, with rec_id."""
Status = Literal["ok", "error", "indeterminate", "skipped"]
Verdict = Literal["pass", "refuse", "flag", "quarantine"]
"""pass: goes on. refuse: leaves, for the reason. flag: someone or something else must look. quarantine: nobody knows."""


@dataclass(frozen=True)
class Finding:
    """Verdict of a stage on one recording."""

    status: Status
    verdict: Verdict
    reason_code: str | None = None
    """Why it doesn't pass, such as "license_nc"; None exactly where the verdict is "pass"."""
    score: float | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The stage's own columns, as its `schema` names them."""

    def __post_init__(self) -> None:
        if self.status in ("error", "indeterminate") and self.verdict not in ("quarantine", "flag"):
            raise ValueError(f"a finding of status {self.status} may not {self.verdict}")
        if (self.verdict == "pass") != (self.reason_code is None):
            raise ValueError("a reason stands exactly where a recording doesn't pass")


@runtime_checkable
class Stage(Protocol):
    """One step. Instances are made in each worker from their settings alone, so making one must be cheap; what is
    heavy (a network, an index) is loaded at the first call."""

    @property
    def name(self) -> str:
        """Name of the step and of its table: "license", "probe"."""
        ...

    @property
    def settings(self) -> Any:
        """A dataclass; its hash marks the evidence."""
        ...

    @property
    def provider(self) -> str: ...

    @property
    def provider_version(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of `recordings` that it reads besides rec_id."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Its own columns, besides those of every table of evidence."""
        ...

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """A finding for each row, in order. `root` is the folder that relative paths start from."""
        ...


Required = Literal["all", "unknown_music", "music", "searched"]
"""Recordings of any kind; of sources that aren't all music; tagged as music; of sources that the metadata search is for."""


def _nothing(store: Store) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Step:
    """A step of a curation."""

    name: str
    """Name of the stage too."""
    settings: Any
    """A dataclass, as asked for."""
    load: Callable[[Store], Callable[[], Stage]]
    """Returns what makes the stage; workers call it too. It reads what must be at hand (weights, an index, evidence of
    earlier steps) and raises `AuralithError` if that is missing."""
    required: Required = "all"
    """Selects the recordings that the step must deal with among those kept so far."""
    reviewed: bool = False
    """Says whether people see what the step flags, and may overturn what it refuses."""
    after_review: bool = False
    """Says whether the step waits for their decisions."""
    reads: Callable[[Store], Mapping[str, str]] = _nothing
    """Returns digests of the evidence that the step reads; its own counts only as long as they stay the same."""
    heavy: bool = False
    """Says whether the step costs enough processor time for processes of its own."""
    threaded: bool = False
    """Says whether one process uses all processors of a machine, as a network does."""
    gpus: float = 0.0
    """Graphics processors that a process needs."""


def evidence_key(stage: Stage) -> Key:
    """Return which evidence a stage makes."""
    return Key(stage.provider, stage.provider_version, params_hash(stage.settings))


def params_hash(settings: object) -> str:
    """Return the SHA-256 of the canonical JSON of a stage's settings, in hexadecimal."""
    assert is_dataclass(settings) and not isinstance(settings, type)
    return hashlib.sha256(canonical_json(asdict(settings)).encode()).hexdigest()

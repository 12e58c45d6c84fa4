"""The contract of a step: a batch of recordings in, one row of evidence for each out.

A step is plain data: its settings, and which recordings it is required for. Loading it returns a function that makes its
stage, here and in every worker. So a curation is read with its steps alone; only running one takes weights or an index.

A stage never raises because of a recording: a faulty one gets a row with status "error" or verdict "quarantine" and a
reason. It raises `AuralithError` only if it cannot work at all (a missing checkpoint, an index of other parameters), and
then before it has written anything.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from auralith.curation.store import EvidenceKey, Store
from auralith.files import canonical_json

Row = Mapping[str, Any]
"""A recording: the columns of `recordings` that the stage reads, and rec_id."""
Status = Literal["ok", "error", "indeterminate", "skipped"]
Verdict = Literal["pass", "refuse", "flag", "quarantine"]
"""pass: kept. refuse: removed, for the reason. flag: people or a later step must judge it. quarantine: undecided."""


@dataclass(frozen=True)
class Finding:
    """Verdict of a stage on one recording."""

    status: Status
    verdict: Verdict
    reason_code: str | None = None
    """Reason for not passing, such as "license_nc"; None exactly if the verdict is "pass"."""
    score: float | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the stage's own, as its `schema` names them."""

    def __post_init__(self) -> None:
        if self.status in ("error", "indeterminate") and self.verdict not in ("quarantine", "flag"):
            raise ValueError(f"a finding of status {self.status} may not {self.verdict}")
        if (self.verdict == "pass") != (self.reason_code is None):
            raise ValueError("a finding has a reason exactly if it does not pass")


@runtime_checkable
class Stage(Protocol):
    """One step at work. Each worker makes its own instance from the settings alone, so making one must be cheap; anything
    heavy (a network, an index) is loaded at the first call."""

    @property
    def name(self) -> str:
        """Name of the step and of its table: "license", "probe"."""
        ...

    @property
    def settings(self) -> Any:
        """Settings, a dataclass; their hash marks the evidence."""
        ...

    @property
    def provider(self) -> str: ...

    @property
    def provider_version(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of `recordings` that the stage reads besides rec_id."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Columns of the stage's own, besides those of every table of evidence."""
        ...

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each row, in order. `root` is the folder that relative paths start from."""
        ...


Required = Literal["all", "unknown_music", "music", "searched"]
"""all: every recording. unknown_music: those of sources that do not hold only music. music: those tagged as music.
searched: those of sources that the metadata search covers."""


def _nothing(store: Store) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class CurationStep:
    """A step of a curation."""

    name: str
    """Name of the step and of its stage."""
    settings: Any
    """Settings as requested, a dataclass."""
    load: Callable[[Store], Callable[[], Stage]]
    """Function that reads what must be available (weights, an index, evidence of earlier steps), raises `AuralithError`
    if that is missing, and returns a function that makes the stage; workers call the latter too."""
    required: Required = "all"
    """Selection of those recordings, among the ones kept so far, that need evidence of this step."""
    reviewed: bool = False
    """True if people see what the step flags, and may overturn what it refuses."""
    after_review: bool = False
    """True if the step waits for the decisions of people."""
    reads: Callable[[Store], Mapping[str, str]] = _nothing
    """Function that returns digests of the evidence that the step reads; its own counts only while they stay the same."""
    heavy: bool = False
    """True if the step costs enough processor time for processes of its own."""
    threaded: bool = False
    """True if one process uses all processors of a machine, as a network does."""
    gpus: float = 0.0
    """Graphics processors that a process needs."""


def evidence_key(stage: Stage) -> EvidenceKey:
    """Return the key of the evidence that a stage makes."""
    return EvidenceKey(stage.provider, stage.provider_version, params_hash(stage.settings))


def params_hash(settings: object) -> str:
    """Return the SHA-256 of the canonical JSON of a stage's settings, in hexadecimal."""
    assert is_dataclass(settings) and not isinstance(settings, type)
    return hashlib.sha256(canonical_json(asdict(settings)).encode()).hexdigest()

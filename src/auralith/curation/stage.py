"""The contract of a step: a batch of recordings in, one row of evidence for each out.

A stage never raises because of a recording: what is wrong with one is a row that says so, with status "error" or
verdict "quarantine" and a reason. It raises `AuralithError` only where nothing can be done at all (a missing
checkpoint, an index of other parameters), and then before it has written anything.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
"""A recording: the columns of `recordings` that the stage asks for, with rec_id."""
Status = Literal["ok", "error", "indeterminate", "skipped"]
Verdict = Literal["pass", "refuse", "flag", "quarantine"]
"""pass: goes on. refuse: leaves, for the reason. flag: someone or something else must look. quarantine: nobody knows."""


@dataclass(frozen=True)
class Finding:
    """What a stage says of one recording."""

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
        """Of the step and of its table: "license", "probe"."""
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
    def schema(self) -> "pa.Schema":
        """Its own columns, besides those of every table of evidence."""
        ...

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """A finding for each row, in order. `root` is the folder that relative paths start from."""
        ...


def params_hash(settings: object) -> str:
    """SHA-256 of the canonical JSON of a stage's settings, in hexadecimal."""
    assert is_dataclass(settings) and not isinstance(settings, type)
    text = json.dumps(asdict(settings), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()

"""Stages without sound, for tests of the engine. Workers import this module, in their own processes too."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from auralith.curation.stage import Finding, Row
from auralith.errors import CheckpointError


@dataclass(frozen=True)
class ToySettings:
    """Which ids are treated how."""

    refuse_every: int = 5
    fail_on: str = ""
    """The id whose recording makes the stage raise."""
    pause_s: float = 0.0
    """After each call."""


class Toy:
    """Refuses some, flags some; writes the ids it was asked for into a file, so that repetition shows."""

    name = "toy"
    provider = "tests"
    provider_version = "1"
    inputs = ("title", "tags")

    def __init__(self, settings: ToySettings, calls: str = "") -> None:
        self.settings, self.calls = settings, calls

    @property
    def schema(self) -> pa.Schema:
        pairs = pa.struct([("index", pa.int32()), ("seconds", pa.float64())])
        return pa.schema(
            [("words", pa.list_(pa.string())), ("top", pa.list_(pairs)), ("length", pa.int32())]
        )

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        findings = [self._finding(row) for row in rows]
        if self.calls:
            with open(self.calls, "a") as file:
                file.write("".join(f"{row['rec_id']}\n" for row in rows))
        time.sleep(self.settings.pause_s)
        return findings

    def _finding(self, row: Row) -> Finding:
        if row["rec_id"] == self.settings.fail_on:
            raise ValueError("a damaged recording")
        number = int(row["rec_id"].split(":")[1])
        columns = {
            "words": row["tags"],
            "top": [{"index": number % 7, "seconds": number / 8}],
            "length": len(row["title"]),
        }
        if number % self.settings.refuse_every == 0:
            return Finding("ok", "refuse", "divisible", float(number), columns)
        return Finding("ok", "pass", None, number / 3, columns)


class NoWeights(Toy):
    """Can't work at all."""

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        raise CheckpointError("toy.pth is not there; download it")

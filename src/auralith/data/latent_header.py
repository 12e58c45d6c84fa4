"""The header of a cache of latents: `cache.json`, which all its shards have in common."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from auralith.checksums import FORMAT, read_record, write_record
from auralith.config import AudioFormat
from auralith.errors import CheckpointError, shown
from auralith.escaping import shell_command
from auralith.foreign import SHAPE_ERRORS
from auralith.settings import build_settings

HEADER_NAME = "cache.json"
Failures = tuple[tuple[str, str], ...]
"""Path and reason of each recording that could not be used."""


@dataclass(frozen=True)
class CacheHeader:
    """Identity of a cache: what it was made of, common to all its shards."""

    autoencoder: str
    """SHA-256 of the weights."""
    text_encoder: str | None
    """SHA-256 of the weights; None where the cache holds no text."""
    max_tokens: int
    audio: AudioFormat
    silence_mean: tuple[float, ...]
    silence_std: tuple[float, ...]
    dataset: str
    """SHA-256 of the recordings' names, lengths and words."""
    total: int
    """Recordings of the dataset, unusable ones included."""
    bad: Failures
    """Those that were unusable by their headers or words."""
    num_shards: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Holds what else changes the content."""
    format: int = field(default=FORMAT, compare=False)
    """In format 2 every shard has a checksum; in format 1 only those that a newer version added have one."""

    def write(self, folder: Path) -> None:
        write_record(folder / HEADER_NAME, asdict(self))

    @property
    def shard_key(self) -> str:
        """A hash of all that decides what is in the shards; each of them carries it."""
        parts = [self.autoencoder, self.text_encoder, self.dataset, self.settings, self.num_shards]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def missing_shards(self, folder: Path) -> list[int]:
        """Those that are not written yet."""
        return [i for i in range(self.num_shards) if not shard_path(folder, i).exists()]

    @classmethod
    def read(cls, folder: Path) -> "CacheHeader":
        """Raises `CheckpointError` if the folder holds no cache, a damaged or a newer one."""
        path = folder / HEADER_NAME
        try:
            values = read_record(path)
            if values["format"] not in range(1, FORMAT + 1):
                raise CheckpointError(
                    f"{folder} has format {shown(values['format'])}, this version reads up to {FORMAT}; "
                    "install a newer version, or encode into a new folder"
                )
            settings = dict(values.pop("settings", {}))
            header = replace(build_settings(cls, values), settings=settings)
            header._check()
            return header
        except FileNotFoundError as error:
            command = shell_command(["auralith", "encode", "DATASET", "-o", str(folder)])
            raise CheckpointError(
                f"{folder} holds no latents; make them with: {command}"
            ) from error
        except (OSError, *SHAPE_ERRORS) as error:
            raise CheckpointError(f"{path} is damaged; encode into a new folder") from error

    def _check(self) -> None:
        """Raise ValueError for numbers that no cache has."""
        if not 0 <= self.num_shards <= max(self.total, 1):
            raise ValueError("more shards than recordings")
        if self.max_tokens < 0 or min(astuple(self.audio)) < 1:
            raise ValueError("a size is not positive")
        if {len(self.silence_mean), len(self.silence_std)} != {self.audio.latent_channels}:
            raise ValueError("silence has other channels")


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.safetensors"


def require_same(what: str, folder: str | Path, stored: str, given: str) -> None:
    """Raise `CheckpointError` where weights other than the given ones made the cache."""
    if stored != given:
        raise CheckpointError(
            f"{folder} was encoded with another {what} ({stored[:12]}, this one is {given[:12]}); "
            "encode into a new folder"
        )


def differing_fields(stored: CacheHeader, given: CacheHeader) -> list[str]:
    """Names of what two caches differ in, apart from silence, whose rounding depends on the machine."""
    own = [f.name for f in fields(CacheHeader) if f.compare and not f.name.startswith("silence_")]
    return [name for name in own if getattr(stored, name) != getattr(given, name)]

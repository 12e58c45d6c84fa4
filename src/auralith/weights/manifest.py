"""The list of weights of others that this package can use, from `manifest.toml`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from urllib.parse import quote

from auralith.errors import InvalidRequest, shown
from auralith.foreign import parse_toml

_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class WeightsFile:
    """A file that is needed."""

    anyof: tuple[str, ...]
    """Its places within a folder of weights, as POSIX paths; of several one is enough, the first is preferred."""
    size: int
    """Size in bytes: exact if the hash is known, else about right."""
    sha256: str | None = None
    """SHA-256 in hexadecimal; None where nobody has verified one."""


@dataclass(frozen=True)
class Wheel:
    """A package of PyPI that holds weights."""

    requirement: str
    """Requirement that pip is asked for, such as "musicnn==0.1.0"."""
    name: str
    """File name."""
    size: int
    """Size in bytes."""
    sha256: str

    @property
    def package(self) -> str:
        """Return the folder in the wheel below which the files lie as they do in a folder of weights."""
        return self.requirement.partition("==")[0]


@dataclass(frozen=True)
class WeightsEntry:
    """One set of published weights."""

    name: str
    purpose: str
    license: str
    """SPDX identifier."""
    page: str
    """Address of the page where they are published."""
    files: tuple[WeightsFile, ...]
    base_url: str | None = None
    """Address that the last part of a file's place is appended to; None if the files come in a wheel."""
    wheel: Wheel | None = None

    @property
    def place(self) -> PurePosixPath:
        """Return the place within a folder of weights: the file if there is one, else the folder of all."""
        first = PurePosixPath(self.files[0].anyof[0])
        return first if len(self.files) == 1 else first.parent

    @property
    def size(self) -> int:
        """Return the size of all files, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def is_exact(self) -> bool:
        """Return whether size and hash of every file are known."""
        return all(file.sha256 for file in self.files)

    def url(self, place: str) -> str:
        """Return the address of a file; HF_ENDPOINT replaces the Hub's own."""
        assert self.base_url is not None
        url = self.base_url + quote(PurePosixPath(place).name)
        endpoint = os.environ.get("HF_ENDPOINT")
        if endpoint and url.startswith(_HUB):
            return f"{endpoint.rstrip('/')}/{url.removeprefix(_HUB)}"
        return url


@cache
def weights_manifest() -> Mapping[str, WeightsEntry]:
    """Return all entries by name."""
    text = files("auralith.weights").joinpath("manifest.toml").read_text(encoding="utf-8")
    return {name: _entry(name, table) for name, table in parse_toml(text).items()}


def weights_entry(name: str) -> WeightsEntry:
    """Return the entry of a name. Raise `InvalidRequest` for an unknown name."""
    entries = weights_manifest()
    if name not in entries:
        raise InvalidRequest(f"no weights are called {shown(name)}; use {', '.join(entries)}")
    return entries[name]


def _entry(name: str, table: dict) -> WeightsEntry:
    wheel = table.pop("wheel", None)
    parts = [WeightsFile(**{**file, "anyof": tuple(file["anyof"])}) for file in table.pop("files")]
    return WeightsEntry(name, files=tuple(parts), wheel=wheel and Wheel(**wheel), **table)

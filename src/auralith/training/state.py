"""The states of a run on disk: written whole or not at all, read without executing anything.

A run's folder keeps the last few states and the best by validation; older ones are deleted once a newer one is whole, so
the disk never holds more than one beyond that. `run.json` says what the run is; a folder of another run is refused.
"""

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from auralith.checksums import file_with_checksum, has_its_checksum, read_record, write_record
from auralith.errors import CheckpointError, InvalidRequest, ResourceError, shown
from auralith.files import check_writable, size_text
from auralith.foreign import PICKLE_ERRORS, SHAPE_ERRORS

STATE = re.compile(r"state-(\d{8})\.pt(\.sha256)?")
"""A state, or its checksum."""


class States:
    """The states in a folder."""

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self.keep_last = folder, keep_last

    def steps(self) -> list[int]:
        """Steps of the whole states, ascending."""
        found = (STATE.fullmatch(path.name) for path in self.folder.glob("state-*.pt"))
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        return self.folder / f"state-{step:08d}.pt"

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and validation loss of the best state."""
        path = self.folder / "best.json"
        if not path.exists():
            return None
        return _best(path)

    def write(self, step: int, state: Mapping[str, Any], loss: float | None) -> None:
        """Write a state and forget what need not be kept; `loss` is its validation loss if there is one."""
        save_state(self.path(step), state)
        best = self.best
        if loss is not None and (best is None or loss <= best[1]):
            write_record(self.folder / "best.json", {"step": step, "loss": loss})
        kept = set(self.steps()[-self.keep_last :])
        if (best := self.best) is not None:
            kept.add(best[0])
        for path in self.folder.glob("state-*.pt*"):
            match = STATE.fullmatch(path.name)
            if match and int(match[1]) not in kept:
                path.unlink(missing_ok=True)

    def read_latest(self) -> dict[str, Any] | None:
        steps = self.steps()
        return load_state(self.path(steps[-1])) if steps else None

    def check_space(self, num_bytes: int) -> None:
        """Raise `ResourceError` if the folder can't be written or the states that are kept would fill the disk."""
        check_writable(self.folder / "run.json")
        # the kept ones, the best, and the one being written
        missing = self.keep_last + 2 - len(self.steps())
        free = shutil.disk_usage(self.folder).free
        if missing * num_bytes > free:
            raise ResourceError(
                f"{self.folder} has {size_text(free)} free, the states of this run need "
                f"{size_text(missing * num_bytes)}; lower keep_last or choose another folder"
            )


def claim_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make `folder` the folder of the run that `identity` describes.

    Raises:
        InvalidRequest: it holds another run; the differing keys are named.
    """
    path = folder / "run.json"
    given = json.loads(json.dumps(_flat(identity), default=str))
    if path.exists():
        kept = _identity(path)
        different = sorted(k for k in kept.keys() | given.keys() if kept.get(k) != given.get(k))
        if different:
            changes = ", ".join(
                f"{k:.60} ({shown(kept.get(k))} → {shown(given.get(k))})" for k in different[:4]
            )
            raise InvalidRequest(
                f"{folder} holds a run with other settings: {changes}"
                f"{' and more' if len(different) > 4 else ''}; restore them or name another folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_record(path, given)


def _identity(path: Path) -> dict[str, Any]:
    try:
        kept = read_record(path)
        del kept["format"]
        return kept
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged; restore it or name another folder") from error


def _best(path: Path) -> tuple[int, float]:
    try:
        data = read_record(path)
        return int(data["step"]), float(data["loss"])
    except (OSError, *SHAPE_ERRORS) as error:
        raise CheckpointError(
            f"{path} is damaged; remove it to have the best state chosen anew"
        ) from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all, and their checksum beside them.

    States that hold the same are the same bytes, also where one run was stopped on the way to it.
    """
    with file_with_checksum(path) as file:
        torch.save(_canonical(state), file)


def _canonical(value: Any) -> Any:
    """Return plain values with texts interned and sequences as lists.

    pickle writes an object that it has met before as a reference, and torch gives an optimizer's tuples back as lists, so
    a state that was read would be written with other bytes.
    """
    if isinstance(value, Mapping):
        return {_canonical(name): _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return sys.intern(value) if isinstance(value, str) else value


def load_state(path: Path) -> dict[str, Any]:
    """Return what `save_state` wrote.

    Raises:
        CheckpointError: the file is damaged or holds something other than tensors and plain values.
    """
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"a {type(state).__name__}")
        return state
    except PICKLE_ERRORS as error:
        raise CheckpointError(
            f"{path}: not a training state, or a damaged one ({type(error).__name__}); delete it to go on from an older one"
        ) from error


def _verify(path: Path) -> None:
    """Compare a state with its checksum; without one, its parts with those that torch writes and does not compare."""
    match has_its_checksum(path):
        case False:
            raise ValueError("its checksum is another")
        case None:  # from an older version
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"{damaged} has another checksum")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat

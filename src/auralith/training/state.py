"""The folder of a run: its states, written whole or not at all and read without executing anything, and its journal.

The folder keeps the last few states and the best by validation; older ones are deleted once a newer one is whole, so the
disk never holds more than one beyond that. `run.json` says what the run is; a folder of another run is refused. The
journal is a line of JSON for every step that is logged, and a picture of the curves.
"""

import json
import math
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from auralith.checksums import file_with_checksum, has_its_checksum, read_record, write_record
from auralith.errors import CheckpointError, InvalidRequest, MissingExtra, ResourceError, shown
from auralith.extras import require
from auralith.files import check_writable, size_text, whole_file
from auralith.foreign import PICKLE_ERRORS, SHAPE_ERRORS, parse_json

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


Entry = dict[str, float | int | None]


class Journal:
    """`log.jsonl` and `curves.png` in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.path, self.picture = folder / "log.jsonl", folder / "curves.png"

    def rewind(self, step: int) -> None:
        """Forget what was written after `step`, which a resumed run does again."""
        entries = [entry for entry in self.read() if (entry["step"] or 0) <= step]
        with whole_file(self.path) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in entries).encode())

    def write(self, step: int, values: Mapping[str, float]) -> None:
        entry = {"step": step} | {k: v if math.isfinite(v) else None for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read(self) -> list[Entry]:
        """All entries; a line that a kill cut short, or that is damaged otherwise, is left out."""
        if not self.path.exists():
            return []
        entries = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                entry = parse_json(line)
            except ValueError:
                continue
            if _is_entry(entry):
                entries.append(entry)
        return entries

    def metrics(self) -> dict[str, float]:
        """Return the last losses and validation figures, as a model card names them ("loss v", "validation v")."""
        last: dict[str, float] = {}
        for entry in self.read():
            for name, value in entry.items():
                if value is not None and name.startswith(("loss/", "validation/")):
                    last[name.replace("/", " ", 1)] = float(value)
        return last

    def draw(self) -> bool:
        """Draw the curves, a chart each and one for all learning rates.

        Returns:
            False where matplotlib is not installed, which the log does not need.
        """
        try:
            figures = require("matplotlib.figure", "train")
        except MissingExtra:
            return False
        entries = self.read()
        charts = _charts(entries)
        if not charts:
            return False
        columns = min(3, len(charts))
        rows = -(-len(charts) // columns)
        figure = figures.Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
        for place, (title, names) in enumerate(charts.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            for name in names:
                _plot(axes, entries, name, label=name.partition("/")[2])
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
            axes.grid(alpha=0.3)
            if len(names) > 1:
                axes.legend()
        with whole_file(self.picture) as file:
            figure.savefig(file, format="png", dpi=100)
        return True


RATE = "learning_rate/"


def _charts(entries: list[Entry]) -> dict[str, list[str]]:
    """Return the names of values by the title of the chart they are drawn in."""
    names = sorted({name for entry in entries for name in entry if "/" in name})
    charts = {name.replace("/", ": "): [name] for name in names if not name.startswith(RATE)}
    rates = [name for name in names if name.startswith(RATE)]
    return charts | ({"learning rate": rates} if rates else {})


def _plot(axes: Any, entries: list[Entry], name: str, label: str) -> None:
    points = [(entry["step"], entry[name]) for entry in entries if entry.get(name) is not None]
    steps, values = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, values, linewidth=1, marker="." if len(steps) < 30 else None, label=label)
    if points:  # where the curve ends, which a line alone does not show
        axes.plot(*points[-1], "o", markersize=4, color=axes.lines[-1].get_color())


def _is_entry(entry: object) -> bool:
    """Return whether a line holds numbers by name, its step among them."""
    if not isinstance(entry, dict) or type(entry.get("step", "")) not in (int, type(None)):
        return False
    return all(
        value is None or (type(value) in (int, float) and abs(value) < 2**53)
        for value in entry.values()
    )

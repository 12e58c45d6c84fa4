"""The journal of a run: a line of JSON for every step that is logged, and a picture of the curves."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auralith.errors import MissingExtra
from auralith.extras import require
from auralith.files import whole_file
from auralith.foreign import parse_json

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

"""What a run wrote down: a line of JSON for every step that is logged, and a picture of the curves."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from auralith.errors import MissingExtra
from auralith.extras import require
from auralith.files import whole_file


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

    def read(self) -> list[dict[str, float | int | None]]:
        """All entries; a last line that a kill cut short is left out."""
        if not self.path.exists():
            return []
        entries = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return entries

    def draw(self) -> bool:
        """Draw the curves; false where matplotlib is not installed, which the log does not need."""
        try:
            figures = require("matplotlib.figure", "train")
        except MissingExtra:
            return False
        entries = self.read()
        names = sorted({name for entry in entries for name in entry} - {"step"})
        names = [name for name in names if "/" in name]
        if not names:
            return False
        rows = -(-len(names) // 3)
        figure = figures.Figure(figsize=(12, 2.6 * rows), layout="constrained")
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, 3, place)
            points = [(e["step"], e[name]) for e in entries if e.get(name) is not None]
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, linewidth=0.8, marker="." if len(steps) < 30 else None)
            axes.set_title(name, fontsize=9)
            axes.set_xlabel("step", fontsize=8)
            axes.tick_params(labelsize=7)
        with whole_file(self.picture) as file:
            figure.savefig(file, format="png", dpi=80)
        return True

"""The whole table of docs/speed.md in one run: each part by the benchmark that measures it, within a time budget.

    python benchmarks/table.py --budget 7200 --write docs/speed.md

A row is known by the machine and by what was measured. A run replaces its own rows and leaves all others as they are, so
that several machines, and several runs of one, fill the same tables; a part that no time is left for stays as it is.
Without --write the tables are printed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from measure import machine
from table_parts import PARTS, Asked, Part

from auralith.files import whole_file

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks/table.py: {} -->", "<!-- benchmarks/table.py: end -->"
MACHINES = "machines"
LEAST_SECONDS = 5.0
"""Seconds below which no further benchmark is started."""
Row = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Rows of one part, the first cell of which is the machine's letter."""

    part: Part
    rows: tuple[Row, ...]

    def merged(self, others: Sequence[Row]) -> "Found":
        """Return these rows with others in the place of those that are of the same."""
        keys = len(self.part.keys) + 1
        known = {row[:keys]: row for row in self.rows}
        return replace(self, rows=tuple((known | {row[:keys]: row for row in others}).values()))

    def markdown(self) -> str:
        """Return the title, the table, and the commands that measure it."""
        part = self.part
        head = ["", *part.keys, *part.columns]
        lines = [f"**{part.title}** {part.note}", ""]
        if self.rows:
            rules = ["---", *("---" for _ in part.keys), *("--:" for _ in part.columns)]
            lines += [row_text(cells) for cells in (head, rules, *self.rows)]
        else:
            lines.append("Not measured yet.")
        return "\n".join([*lines, "", f"`python benchmarks/table.py --only {part.name}`"])


def row_text(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def cells_of(line: str) -> Row:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


@dataclass(frozen=True)
class Section:
    """What lies between the marks of a file: machines by letter, and the rows of each part."""

    machines: dict[str, str]
    found: tuple[Found, ...]

    @staticmethod
    def of(text: str) -> "Section":
        """Return the section of a page, empty where the page has none yet."""
        blocks = dict(
            re.findall(r"<!-- benchmarks/table\.py: (\w+) -->\n(.*?)(?=<!--)", text, re.S)
        )
        machines = dict(re.findall(r"^- ([A-Z]): (.*)$", blocks.get(MACHINES, ""), re.M))
        found = []
        for part in PARTS:
            lines = [line for line in blocks.get(part.name, "").splitlines() if line[:1] == "|"]
            found.append(Found(part, tuple(map(cells_of, lines[2:]))))
        return Section(machines, tuple(found))

    def letter(self, about: str) -> str:
        """Return the letter of a machine, the next one if it is new."""
        known = {text: letter for letter, text in self.machines.items()}
        return known.get(about) or chr(ord("A") + len(self.machines))

    def with_rows(self, name: str, about: str, rows: Sequence[Row]) -> "Section":
        """Return the section with rows of one part that a machine measured."""
        letter = self.letter(about)
        added = [(letter, *row) for row in rows]
        found = (one.merged(added) if one.part.name == name else one for one in self.found)
        return Section(self.machines | {letter: about}, tuple(found))

    def markdown(self) -> str:
        """Return the section with its marks."""
        machines = [f"- {letter}: {about}" for letter, about in self.machines.items()]
        blocks = [(MACHINES, "\n".join(machines or ["No machine has measured yet."]))]
        blocks += [(one.part.name, one.markdown()) for one in self.found]
        texts = [f"{BEGIN.format(name)}\n{block}\n" for name, block in blocks]
        return "\n".join([*texts, END])

    def written_to(self, page: str) -> str:
        """Return a page with this section in place of its own, or at its end."""
        start, end = page.find(BEGIN.format(MACHINES)), page.find(END)
        if start < 0 or end < 0:
            return f"{page.rstrip()}\n\n{self.markdown()}\n"
        return page[:start] + self.markdown() + page[end + len(END) :]


def machine_text(asked: Asked) -> str:
    """Return the machine in words; its threads are a column of the tables."""
    about = machine(0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{about['cpu']}, {cores} cores, {about['capability']} ({about['instructions']})"
    if torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    text += f"; torch {about['torch']}, Python {about['python']}"
    return text + ("" if asked.scale == "full" else f"; scale {asked.scale}, which means nothing")


def measured(part: Part, asked: Asked, deadline: float) -> Iterator[Row]:
    """Run a part's benchmarks one after another and yield their rows, until the time is over."""
    for run in part.runs(asked):
        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            print(f"{part.name}: no time is left for {' '.join(run.command)}", file=sys.stderr)
            return
        data = output_of(run.command, run.threads, left)
        if data is not None:
            yield from run.rows(data)


def output_of(command: Sequence[str], threads: int, seconds: float) -> Any:
    """Return what a benchmark wrote as JSON, None if nothing; a line says so where it did not end well."""
    print(" ".join(command), file=sys.stderr, flush=True)
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "rows.json"
        line = [sys.executable, str(HERE / command[0]), *command[1:], "--output", str(output)]
        try:
            done = subprocess.run(
                line,
                timeout=seconds,
                capture_output=True,
                text=True,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            problem = f"cut off after {seconds:.0f} s"
        else:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            problem = f"failed: {lines[-1]}" if done.returncode else None
        if problem is not None:
            print(f"  {problem}; rows that it did not measure stay as they are", file=sys.stderr)
        return json.loads(output.read_text()) if output.exists() else None


def write(path: Path, section: Section) -> None:
    """Put the section into a page, which is made if it is not there."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    with whole_file(path) as file:
        file.write(section.written_to(page).encode())


def main(
    only: Annotated[str, typer.Option(help="Parts, separated by commas.")] = ",".join(
        part.name for part in PARTS
    ),
    scale: Annotated[str, typer.Option(help="full (published size) or small.")] = "full",
    dtype: Annotated[str, typer.Option(help="Formats of step and clip.")] = "float32,bfloat16,int8",
    threads: Annotated[str, typer.Option(help="Numbers of threads, separated by commas.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the warm-up.")] = 3,
    stable_audio_tools: Annotated[
        Path | None, typer.Option(exists=True, help="A checkout; einops must be installed.")
    ] = None,
    budget: Annotated[float, typer.Option(min=1, help="Seconds for all parts.")] = 7_200.0,
    write_to: Annotated[
        Path | None, typer.Option("--write", help="Page whose tables are brought up to date.")
    ] = None,
) -> None:
    """Measure the parts in their order, and write what was measured after each."""
    chosen = only.split(",")
    known = {part.name: part for part in PARTS}
    unknown = [*(set(chosen) - known.keys()), *({scale} - {"full", "small"})]
    unknown += sorted(set(dtype.split(",")) - {"float32", "bfloat16", "int8"})
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    counts = tuple(map(int, threads.split(",")))
    asked = Asked(scale, tuple(dtype.split(",")), counts, rounds, stable_audio_tools)
    page = write_to.read_text(encoding="utf-8") if write_to and write_to.exists() else ""
    section, about = Section.of(page), machine_text(asked)
    deadline = time.monotonic() + budget
    for part in PARTS:
        if part.name in chosen:
            rows = list(measured(part, asked, deadline))
            section = section.with_rows(part.name, about, rows) if rows else section
            if write_to is not None:
                write(write_to, section)
    if write_to is None:
        print(section.markdown())


if __name__ == "__main__":
    typer.run(main)

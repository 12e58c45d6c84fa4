"""Progress on stderr: the bar of a generation, and the stages of long work (a line every so often without a terminal)."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from auralith.cli.lines import note
from auralith.escaping import one_line

if TYPE_CHECKING:
    from auralith.training.finetune import Event
    from auralith.training.task import Progress as TrainingProgress


class _StepRate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.2f} steps/s")


@runtime_checkable
class Place(Protocol):
    """A place within the steps of a sound, such as a `samplers.Step`."""

    @property
    def index(self) -> int: ...
    @property
    def total(self) -> int | None: ...


@contextmanager
def generation_progress() -> Iterator[Callable[[Place], None]]:
    """Gives the function to call after each step. It starts over where another batch begins."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _StepRate(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("denoising", total=None)

        def show(step: Place) -> None:
            if step.index == 0:
                progress.reset(task)
            done = step.index + 1
            description = "decoding" if done == step.total else "denoising"
            progress.update(task, completed=done, total=step.total, description=description)

        yield show


LINE_SECONDS = 30.0
ShowStage = Callable[[str, int, int, str], None]
"""(stage, done, total, text); a new stage gets a bar of its own."""


class _Shown:
    """State of a stage's display: its bar, the time of its last line, and since when how much was done."""

    def __init__(self, task: TaskID, done: int, now: float) -> None:
        self.task, self.line_at = task, now
        self._first, self._began = done, now
        self.has_estimate = False

    def left(self, done: int, total: int, now: float) -> str:
        """Return the time left at the pace so far; empty before there is one. What an earlier run did counts for none."""
        if done <= self._first or done >= total:
            return ""
        seconds = (total - done) * (now - self._began) / (done - self._first)
        return f"{duration(seconds)} left"

    def line_due(self, is_estimate: bool, is_last: bool, now: float) -> bool:
        """Return whether it is time for a line: every so often, at the first estimate, and at the end."""
        due = (
            is_last or now - self.line_at > LINE_SECONDS or (is_estimate and not self.has_estimate)
        )
        self.has_estimate |= is_estimate
        return due


@contextmanager
def stage_progress() -> Iterator[ShowStage]:
    """Give the function to call as work goes on."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[stage]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}"),
    )
    stages: dict[str, _Shown] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

        def show(stage: str, done: int, total: int, text: str) -> None:
            text = escape(one_line(text))  # of rich's markup
            now = time.monotonic()
            if stage not in stages:
                task = bar.add_task("", total=total, stage=stage, left="")
                stages[stage] = _Shown(task, done, now)
            shown = stages[stage]
            left = shown.left(done, total, now)
            bar.update(shown.task, completed=done, total=total, description=text, left=left)
            if not console.is_terminal and shown.line_due(bool(left), done == total, now):
                parts = (f"{stage} {done}/{total}", left, text)
                console.print("  ".join(filter(None, parts)), highlight=False)
                shown.line_at = now

        yield show


def duration(seconds: float) -> str:
    """Return a time span in the units that people use: "40 s", "12 min", "3 h 05 min", "2 d 4 h"."""
    minutes, hours = round(seconds / 60), round(seconds / 3_600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{hours // 24} d {hours % 24} h"


def training_line(progress: "TrainingProgress") -> str:
    """Losses, speed, and what happened, in one line."""
    if progress.event:
        return progress.event
    losses = "  ".join(f"{name} {value:.4f}" for name, value in progress.losses.items())
    rate = progress.audio_seconds / max(progress.seconds, 1e-9)
    speed = f"{progress.seconds:.2f} s/step" + (f"  {rate:.0f} × real time" if rate else "")
    checked = "".join(f"  validation {name} {v:.4f}" for name, v in progress.validation.items())
    return f"{losses}  {speed}{checked}"


def show_events(events: Iterable["Event"]) -> None:
    """Drive a training to its end and show how it goes; of several processes the first one shows it."""
    with stage_progress() as show:
        for event in events:
            if not _is_first_process():
                continue
            if event.progress is not None:
                show(event.stage, event.done, event.total, training_line(event.progress))
            elif event.total:
                show(event.stage, event.done, event.total, event.text)
            else:
                note(event.text)


def print_once(result: object) -> None:
    """Print a result; of several processes the first one does."""
    if _is_first_process():
        print(result)


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"

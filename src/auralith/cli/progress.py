"""Progress on stderr: the bar of a generation, and the stages of long work (a line every so often without a terminal)."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
from auralith.errors import one_line

if TYPE_CHECKING:
    from auralith.samplers import Step
    from auralith.training.finetune import Event
    from auralith.training.loop import Progress as TrainingProgress


class _StepRate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.2f} steps/s")


@contextmanager
def generation_progress() -> Iterator[Callable[["Step"], None]]:
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

        def show(step: "Step") -> None:
            if step.index == 0:
                progress.reset(task)
            done = step.index + 1
            description = "decoding" if done == step.total else "denoising"
            progress.update(task, completed=done, total=step.total, description=description)

        yield show


LINE_SECONDS = 30.0
ShowStage = Callable[[str, int, int, str], None]
"""(stage, done, total, text); a new stage gets a bar of its own."""


@contextmanager
def stage_progress() -> Iterator[ShowStage]:
    """Gives the function to call as work goes on."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[stage]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    tasks: dict[str, TaskID] = {}
    shown: dict[str, float] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

        def show(stage: str, done: int, total: int, text: str) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task("", total=total, stage=stage)
                shown[stage] = time.monotonic()
            text = escape(one_line(text))  # of rich's markup
            bar.update(tasks[stage], completed=done, total=total, description=text)
            now = time.monotonic()
            if not console.is_terminal and (now - shown[stage] > LINE_SECONDS or done == total):
                console.print(f"{stage} {done}/{total}  {text}", highlight=False)
                shown[stage] = now

        yield show


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

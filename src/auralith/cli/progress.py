"""The progress bar of a generation, on stderr and only on a terminal: steps, steps per second, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from auralith.samplers import Step


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

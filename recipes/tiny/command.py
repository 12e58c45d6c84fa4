"""The stages of a recipe as a command: all of them or one, each resumed where it stopped."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from auralith.cli.progress import stage_progress, training_line
from auralith.errors import InvalidRequest
from auralith.training.processes import leave_processes
from auralith.training.task import Progress
from recipes.tiny import stages
from recipes.tiny.corpus import Corpus


class Stage(Enum):
    """The stages of a recipe, in their order."""

    text = "text"
    autoencoder = "autoencoder"
    encode = "encode"
    dit = "dit"
    export = "export"


def run_stages(
    recipe: stages.Recipe,
    corpus: Corpus[Any],
    folder: Path,
    stage: Stage | None,
    part: int = 0,
    parts: int = 1,
) -> None:
    """Run one stage, or all of them, with a progress bar; the last one prints the model's folder.

    Raises InvalidRequest if the result of an earlier stage is missing, or `part` is not below `parts`.
    """
    if part >= parts:
        raise InvalidRequest(f"--part is {part}; it must be below --parts, {parts}")
    with stage_progress() as show:
        for one in Stage if stage is None else [stage]:
            if one is Stage.encode:
                for encoded in stages.encode_corpus(recipe, corpus, folder, part, parts):
                    show(one.value, encoded.done, encoded.total, "")
            elif one is Stage.export:
                print(stages.export(recipe, folder))
            else:
                for at in _train(one, recipe, corpus, folder):
                    show(one.value, at.step, at.steps, training_line(at))
    leave_processes()


def _train(
    stage: Stage, recipe: stages.Recipe, corpus: Corpus[Any], folder: Path
) -> Iterator[Progress]:
    runs = {
        Stage.text: stages.train_text,
        Stage.autoencoder: stages.train_autoencoder,
        Stage.dit: stages.train_dit,
    }
    return runs[stage](recipe, corpus, folder)

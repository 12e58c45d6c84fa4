"""The end of every run: a model that loads at once, a card that says what it was made of, and its place on disk.

A run's folder keeps a record of what the run exported. So the same command with more steps replaces its own model, and
never a folder that holds anything else.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from auralith import __version__
from auralith.checkpoints import Checkpoint, convert, save_single_file
from auralith.checkpoints.attribution import carry_attribution
from auralith.checksums import read_record, write_record
from auralith.errors import AudioError, CheckpointError, Field, InvalidRequest
from auralith.escaping import markdown, shell_command
from auralith.extras import require
from auralith.files import file_hash, whole_file, whole_folder
from auralith.foreign import SHAPE_ERRORS, parse_json

Layout = Literal["single-file", "diffusers", "both"]
CARD_NAME = "MODEL_CARD.md"
_OF_MANIFESTS = {"rec_id", "license_spdx", "sha256", "split", "partition"}
"""Columns by which the manifest of a curation is known."""


@dataclass(frozen=True)
class Card:
    """Contents of a model card."""

    title: str
    base: str
    """Name and hash of the model that was trained on, or how training began."""
    data: str
    """In Markdown, as `dataset_name` gives it."""
    num_recordings: int
    hours: float
    licenses: Mapping[str, int] = field(default_factory=dict)
    """Recordings by license, as the dataset names them; empty where it names none."""
    settings: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    example: str = ""
    conditions: Mapping[str, float] = field(default_factory=dict)
    """Those of the example, beyond its seconds."""

    def to_markdown(self, model: str) -> str:
        """Return the card; names, titles and prompts stand in it as what they say, whatever they hold."""
        licenses = [f"- {markdown(name)}: {n}" for name, n in sorted(self.licenses.items())]
        settings = [f"- {markdown(n)}: {markdown(str(v))}" for n, v in self.settings.items()]
        return "\n".join(
            [
                f"# {markdown(self.title)}",
                "",
                f"Made by Auralith {__version__} from {markdown(self.base)}.",
                "",
                "## Data",
                f"{self.data}: {self.num_recordings} recordings, {self.hours:.2f} h.",
                "",
                *(licenses or ["The dataset names no licenses; the weights may carry its terms."]),
                "",
                "## Settings",
                *settings,
                "",
                "## Metrics",
                *(f"- {markdown(name)}: {value:.5g}" for name, value in self.metrics.items()),
                "",
                "## Use",
                "```sh",
                self._command(model),
                "```",
                "The license of the base model's weights applies to these weights too.",
                "",
            ]
        )

    def _command(self, model: str) -> str:
        prompt = " ".join(self.example.split()) or "your prompt"
        options = ["--model", model]
        for name, value in self.conditions.items():
            options += ["--condition", f"{name}={value:g}"]
        if prompt.startswith("-"):  # or it would be taken for an option
            return shell_command(["auralith", "generate", *options, "--", prompt])
        return shell_command(["auralith", "generate", prompt, *options])


def export_model(
    folder: Path,
    checkpoint: Checkpoint,
    card: Card,
    layout: Layout,
    dtype: torch.dtype,
    name: str,
    beside: Sequence[Path] = (),
) -> None:
    """Write the networks of `checkpoint` as they are now into `folder`, which is new and empty.

    The files `beside` are copied into it, and what names everybody whose sounds the base model learned from. With both layouts the diffusers one lies in `folder/diffusers`. The card calls
    the model `name`.

    Raises:
        CheckpointError: the model can't be expressed in the layout.
    """
    single = folder / "single" if layout == "diffusers" else folder
    single.mkdir(exist_ok=True)
    save_single_file(
        single,
        checkpoint.config,
        dit=checkpoint.dit.state_dict(),
        numbers=checkpoint.numbers.state_dict(),
        autoencoder=checkpoint.autoencoder.state_dict(),
        text=checkpoint.text,
        dtype=dtype,
        training=checkpoint.training,
    )
    carry_attribution(checkpoint.folder, single)
    if layout == "both":
        convert(single, folder / "diffusers", "diffusers")
    elif layout == "diffusers":
        convert(single, folder / "converted", "diffusers")
        _move_up(folder, folder / "converted", single)
    for path in beside:
        shutil.copyfile(path, folder / path.name)
    with whole_file(folder / CARD_NAME) as file:
        file.write(card.to_markdown(name).encode())


def dataset_name(dataset: Path) -> str:
    """Return how a card names a dataset, in Markdown; a curation's manifest with its SHA-256, by which anyone can tell which it was.

    Raises:
        InvalidRequest: it is a Parquet file that can't be read.
    """
    if dataset.suffix.lower() != ".parquet" or not dataset.is_file():
        return markdown(dataset.name)
    parquet = require("pyarrow.parquet", "train")
    try:
        is_manifest = set(parquet.read_schema(dataset).names) >= _OF_MANIFESTS
        digest = file_hash(dataset) if is_manifest else ""
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{dataset} can't be read ({error}); correct it") from error
    named = markdown(dataset.name)
    return f"{named}, manifest of a curation, SHA-256 `{digest}`" if is_manifest else named


def count_licenses(licenses: Sequence[str | None]) -> dict[str, int]:
    """Count the recordings by license; empty where none is named."""
    named = [name or "not named" for name in licenses]
    return {} if set(named) <= {"not named"} else {n: named.count(n) for n in dict.fromkeys(named)}


def _move_up(folder: Path, converted: Path, single: Path) -> None:
    for entry in sorted(single.rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    single.rmdir()
    for entry in converted.iterdir():
        entry.rename(folder / entry.name)
    converted.rmdir()


RECORD = "exported.json"
_HASHED_BYTES = 1_000_000
"""Up to this size files are compared by content, and by size above it."""


def check_target(target: Path, run_folder: Path, steps: int) -> None:
    """Check that a run of `steps` may write its model to `target`: nothing is there, or an earlier export of that run.

    Raises:
        InvalidRequest: there is something else, or the model of so many steps already.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    present = _contents(target) if target.is_dir() else None
    made = [export["steps"] for export in _exports(run_folder) if export["files"] == present]
    if not made:
        raise InvalidRequest(
            f"{target} exists already, and not as this run wrote it; move it away or name another output"
        )
    if made[-1] >= steps:
        raise InvalidRequest(
            f"{target} exists already, finished after {made[-1]} steps; raise ",
            Field("loop.steps"),
            " to go on, or name another output",
        )


@contextmanager
def exported(target: Path, run_folder: Path, steps: int) -> Iterator[Path]:
    """Give the folder to write the model into, which takes the place of `target` if the block succeeds.

    Raises:
        InvalidRequest: as `check_target` does.
        ResourceError: it can't be written.
    """
    check_target(target, run_folder, steps)
    with whole_folder(target, replace=True) as folder:
        yield folder
        # before the folder is in place: a kill in between must not leave a model that the run does not know
        exports = [*_exports(run_folder), {"steps": steps, "files": _contents(folder)}]
        write_record(run_folder / RECORD, {"exports": exports[-2:]})


@contextmanager
def nothing_left_if_refused(folder: Path) -> Iterator[None]:
    """Remove `folder`, and those above it, if they were made within a block that then refuses its input."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except (InvalidRequest, CheckpointError, AudioError):
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in made[1:]:
            with suppress(OSError):  # something else came into it meanwhile
                parent.rmdir()
        raise


def _exports(run_folder: Path) -> list[dict[str, Any]]:
    """Return the steps and files of the exports. Raise `CheckpointError` if their record is damaged."""
    path = run_folder / RECORD
    if not path.exists():
        return []
    try:
        written = path.read_bytes()
        # an older version wrote a list, which had no checksum
        exports = parse_json(written) if written[:1] == b"[" else read_record(path)["exports"]
        return [{"steps": int(one["steps"]), "files": dict(one["files"])} for one in exports]
    except (OSError, *SHAPE_ERRORS) as error:
        raise CheckpointError(
            f"{path} is damaged; remove it, and move what the run exported out of the way"
        ) from error


def _contents(folder: Path) -> dict[str, str]:
    """Return what tells the files of a folder from others, by their names relative to it."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def _content(path: Path) -> str:
    if (size := path.stat().st_size) > _HASHED_BYTES:
        return f"{size} bytes"
    return file_hash(path)

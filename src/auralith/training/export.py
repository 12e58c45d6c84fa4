"""The end of every run: a model that loads at once, and a card that says what it was made of."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from auralith import __version__
from auralith.checkpoints import Checkpoint, convert, save_single_file
from auralith.errors import InvalidRequest
from auralith.escaping import markdown, shell_command
from auralith.extras import require
from auralith.files import file_hash, whole_file

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

    The files `beside` are copied into it. With both layouts the diffusers one lies in `folder/diffusers`. The card calls
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

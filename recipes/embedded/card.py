"""The card of the embedded model: `python -m recipes.embedded.card RUN --recordings TABLE --evaluation FOLDER`.

Everything in it is read: hours from the corpus and the table, the funnel from the curation beside the table, sizes and
steps from the run, figures from the evaluation's verdicts.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from auralith import load
from auralith.cli.main import run
from auralith.errors import InvalidRequest
from auralith.escaping import markdown
from auralith.files import whole_file
from auralith.settings import load_settings
from auralith.tensor_files import read_tensor_file
from auralith.training.export import CARD_NAME
from recipes.embedded.__main__ import RECIPE
from recipes.embedded.corpus import Corpus, Library, Played, Recorded
from recipes.embedded.corpus.sounds import instruments
from recipes.embedded.evaluation.judging import SETTINGS, VERDICTS, Verdict, figures
from recipes.tiny.__main__ import Changes
from recipes.tiny.stages import Recipe

SOUNDS = 4_000
"""Draws from which the hours of the corpus by kind are reckoned."""
STAGES = {"text": "text encoder", "autoencoder": "autoencoder", "dit": "transformer"}


def write_card(
    model: Path,
    recipe: Recipe,
    recordings: Path | None,
    verdicts: Mapping[str, Sequence[Verdict]] | None,
) -> Path:
    """Write a model's card into its folder, and return its path.

    Raises:
        ResourceError: a file can't be read or written.
    """
    parts = [
        _about(model, recipe),
        _data(recipe, recordings),
        _training(recipe),
        _figures(verdicts),
        LIMITS,
    ]
    path = model / CARD_NAME
    with whole_file(path) as file:
        file.write("\n".join(parts).encode())
    return path


LIMITS = """## Limits

No speech and no singing, no music with several instruments at once, no language but English. A prompt with words that it
never saw gets a warning that names them, and a sound all the same; `auralith words` lists those it knows. Phases are
reconstructed from levels, so hits are softer and textures smoother than what it learned from. The continuation of
a sustained note fades by up to 10 dB in about half of the cases.

Meant for tests, demonstrations, teaching and training at home, and for sketches of effects and notes in games. Weights
and recipe are under the Apache License 2.0; `ATTRIBUTION` beside the weights names everybody whose sounds it learned
from.
"""


def _about(model: Path, recipe: Recipe) -> str:
    tensors = read_tensor_file(model / "model.safetensors").weights
    count = sum(int(np.prod(tensor.shape)) for tensor in tensors.values())
    config = recipe.config
    return f"""---
license: apache-2.0
---
# The embedded model

Single notes, chords, phrases and strums of about {len(instruments())} instruments, drum loops at a tempo, hits, and
sounds of nature, machines and things, in stereo at {config.audio.sample_rate} Hz, up to {recipe.model.longest_seconds:g} s.
Small enough to be part of the package: {count / 1e6:.1f} million parameters, {_size(model):.0f} MB. Made by
`python -m recipes.embedded`, whose page has every step.
"""


def _size(model: Path) -> float:
    return sum(p.stat().st_size for p in model.rglob("*") if p.is_file()) / 1e6


def _data(recipe: Recipe, recordings: Path | None) -> str:
    seconds: dict[str, float] = defaultdict(float)
    corpus = Corpus(Library(recordings) if recordings else None)
    for index in range(SOUNDS):
        sound = corpus.draw(np.random.default_rng(index))
        source = {Played: "played on SoundFonts", Recorded: "recordings"}.get(
            type(sound), "computed"
        )
        seconds[source] += sound.seconds * recipe.corpus.clips / SOUNDS
    lines = [
        "## Data",
        "",
        f"{recipe.corpus.clips} clips, {sum(seconds.values()) / 3600:.0f} hours, each described in many wordings.",
        "",
        "| source | hours |",
        "|---|--:|",
        *(f"| {name} | {value / 3600:.1f} |" for name, value in sorted(seconds.items())),
        "",
    ]
    if recordings:
        lines += [*_licenses(recordings), *_funnel(recordings.parent / "curation" / "funnel.json")]
    return "\n".join(lines)


def _licenses(table: Path) -> Iterator[str]:
    minutes: dict[str, float] = defaultdict(float)
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            minutes[row["license"]] += float(row["seconds"]) / 60
    yield "Recordings that clips were cut from, by license, and how they were curated (`auralith curate`):"
    yield from ("", "| license | minutes |", "|---|--:|")
    for name, value in sorted(minutes.items()):
        yield f"| {markdown(name)} | {value:.1f} |"
    yield ""


def _funnel(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    yield from ("| step | in | out | left out |", "|---|--:|--:|---|")
    for row in json.loads(path.read_bytes())["all"]:
        reasons = ", ".join(
            f"{n} {reason.replace('_', ' ')}" for reason, n in row["removed"].items()
        )
        yield f"| {row['stage']} | {row['in']} | {row['out']} | {reasons} |"
    yield ""


def _training(recipe: Recipe) -> str:
    steps = [
        f"{getattr(recipe, f'{stage}_loop').steps:,} of the {name}"
        for stage, name in STAGES.items()
    ]
    sampling = recipe.config.sampling
    return f"""## Training

From random weights, by the loop that users train with. Steps: {", ".join(steps)}. A sound takes {sampling.steps} steps of
{sampling.sampler} at guidance {sampling.cfg_scale:g} if nothing else is asked for.
"""


def _figures(verdicts: Mapping[str, Sequence[Verdict]] | None) -> str:
    if verdicts is None:
        return ""
    lines = [
        "## How well it follows prompts",
        "",
        "Held-out prompts, whose wordings, notes, tempi, presets and recordings are in no training caption, judged by networks",
        "that others trained and by plain measures (`python -m recipes.embedded.evaluation`).",
        "",
        f"| figure | of | {' | '.join(verdicts)} |",
        f"|---|--:|{'--:|' * len(verdicts)}",
        *(
            f"| {title} | {count} | {' | '.join(cells)} |"
            for title, count, cells in figures(verdicts)
        ),
        "",
    ]
    return "\n".join(lines)


def read_verdicts(folder: Path, model: Path) -> dict[str, list[Verdict]]:
    """Return the verdicts of an evaluation's folder.

    Raises:
        InvalidRequest: it holds none, others than the evaluation writes, or those of another model.
    """
    try:
        judged: str = json.loads((folder / SETTINGS).read_bytes())["model"]
        found: dict[str, list[dict[str, Any]]] = json.loads((folder / VERDICTS).read_bytes())
        verdicts = {name: [Verdict(**row) for row in rows] for name, rows in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidRequest(
            f"the figures in {folder} can't be read ({error}); run the evaluation first"
        ) from error
    if judged != load(model).checkpoint.model_hash:
        raise InvalidRequest(
            f"{folder} judges another model than {model}; run the evaluation of this one"
        )
    return verdicts


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the run, with its model.")],
    recordings: Annotated[Path | None, typer.Option(help="Table of training.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Folder of the evaluation.")] = None,
    recipe: Annotated[Path, typer.Option(help="TOML file of training.")] = RECIPE,
    set: Changes = None,
) -> None:
    """Write the card of a finished model, and print its path."""
    settings = load_settings(Recipe, recipe, set or ())
    model = folder / "model"
    verdicts = read_verdicts(evaluation, model) if evaluation else None
    print(write_card(model, settings, recordings, verdicts))


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(main)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or ["--help"], app, "python -m recipes.embedded.card"))

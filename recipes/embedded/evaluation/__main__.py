"""How well a model follows held-out prompts: `python -m recipes.embedded.evaluation --recordings TABLE -o FOLDER`.

Three columns are judged alike: the corpus (what the judges tell at best), its reconstruction by the autoencoder, and the
sounds made for the prompts. Those are written to the folder as they are made, so the command goes on where it stopped.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from auralith import GenerationRequest, load
from auralith.cli.main import run
from auralith.embedders.registry import open_embedder
from auralith.errors import InvalidRequest
from auralith.files import whole_file
from auralith.pipeline import Auralith
from auralith.sound.reading import read
from auralith.sound.writing import write
from recipes.embedded.corpus import Corpus, Library
from recipes.embedded.evaluation.cases import Case, draw_cases, draw_references
from recipes.embedded.evaluation.judging import SETTINGS, VERDICTS, Judges, Verdict, figures, judge
from recipes.embedded.evaluation.neighbors import Neighbors
from recipes.embedded.evaluation.notes import Listener
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo

Maker = Callable[[int, Case], Stereo]


def evaluate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of sounds and figures.")],
    recordings: Annotated[
        Path | None, typer.Option(help="Table of real recordings, as in training.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The embedded one if left out.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Held-out prompts.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the prompts.")] = 0,
    steps: Annotated[int | None, typer.Option(help="The model's default if left out.")] = None,
    cfg: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler.")] = None,
    basic_pitch: Annotated[
        Path | None, typer.Option(help="Wheel of basic-pitch; its questions are left out without.")
    ] = None,
    embedder: Annotated[
        str, typer.Option(help='Embedder of neighbors; "" leaves their questions out.')
    ] = "musicnn-msd",
    references: Annotated[int, typer.Option(min=1, help="Held-out sounds of each timbre.")] = 6,
) -> None:
    """Judge a model on held-out prompts, and print a table."""
    corpus = Corpus(Library(recordings) if recordings else None)
    judges = Judges(
        Listener(basic_pitch) if basic_pitch else None,
        Neighbors.of(
            open_embedder(embedder, device="cpu"),
            track(list(draw_references(corpus, references, seed)), "references", transient=True),
        )
        if embedder
        else None,
    )
    drawn = draw_cases(corpus, prompts, seed)
    cases = list(track(drawn, "held-out prompts", total=prompts, transient=True))
    made = load(model)
    sampling: dict[str, Any] = {"steps": steps, "cfg_scale": cfg, "sampler": sampler}
    claim(
        output, {"model": made.checkpoint.model_hash, "prompts": prompts, "seed": seed, **sampling}
    )
    request = partial(GenerationRequest, **sampling)
    makers: dict[str, Maker] = {
        "corpus": lambda index, case: case.waveform,
        "reconstruction": lambda index, case: reconstructed(made, case),
        "generated": lambda index, case: generated(made, request, index, case),
    }
    verdicts: dict[str, list[Verdict]] = {}
    for name, make in makers.items():
        numbered = track(list(enumerate(cases)), name, transient=True)
        verdicts[name] = [
            judge(case, kept(output / name / f"{index:04d}.wav", make, index, case), judges)
            for index, case in numbered
        ]
    Console().print(table(verdicts))
    found = {name: [asdict(verdict) for verdict in rows] for name, rows in verdicts.items()}
    with whole_file(output / VERDICTS) as file:
        file.write((json.dumps(found, indent=1) + "\n").encode())


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write what a folder's sounds are made of, or raise InvalidRequest if it holds those of something else."""
    path = folder / SETTINGS
    text = json.dumps(settings, indent=1) + "\n"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as fresh:
            fresh.write(text.encode())
    elif path.read_text(encoding="utf-8") != text:
        raise InvalidRequest(f"{folder} holds sounds of other settings; give another --output")


def reconstructed(model: Auralith, case: Case) -> Stereo:
    """Return a clip through the autoencoder, cut to its length."""
    latents = model.encode(torch.from_numpy(case.waveform)[None])
    return model.decode(latents)[0, :, : case.waveform.shape[1]].cpu().numpy()


def generated(
    model: Auralith, request: "partial[GenerationRequest]", index: int, case: Case
) -> Stereo:
    """Return the sound for a prompt, of the length of its clip; the seed is the number of the case."""
    asked = request(case.prompt, seconds_total=case.sound.seconds, seed=index)
    return model.generate(asked).waveform.numpy()


def kept(path: Path, make: Maker, index: int, case: Case) -> Stereo:
    """Return a sound as its file has it, made first if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, torch.from_numpy(np.ascontiguousarray(make(index, case))), SAMPLE_RATE)
    return read(path)[0].numpy()


def table(verdicts: dict[str, list[Verdict]]) -> Table:
    """Return shares and medians of each column."""
    shown = Table("figure", "of", *verdicts)
    for title, count, cells in figures(verdicts):
        shown.add_row(title, str(count), *cells)
    return shown


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(evaluate)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or ["--help"], app, "python -m recipes.embedded.evaluation"))

"""`auralith curate index` and `identify`: known recordings, and where they play in the curation's."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from auralith.curation.identification.landmark import Landmarks


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(index)
    app.command()(identify)


def index(
    sounds: Annotated[Path, typer.Argument(help="Folder of recordings that are known.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the index; new.")],
    set: Annotated[
        str | None,
        typer.Option(help="Evaluation set that they are: the guard then knows matches with it."),
    ] = None,
) -> None:
    """Index known recordings by their sound. Prints how many there are; files that can't be read are named."""
    from auralith.curation.identification import build_index
    from auralith.data.decoding import SOUND_SUFFIXES
    from auralith.errors import InvalidRequest

    paths = sorted(p for p in sounds.rglob("*") if p.suffix.lower() in SOUND_SUFFIXES)
    if not paths:
        raise InvalidRequest(f"{sounds} holds no sound files; name the folder of the known ones")
    postings = build_index(_known(paths, sounds, f"{set}:" if set else ""), output)
    print(f"{postings:,} landmarks")
    print(output)


def _known(paths: list[Path], root: Path, prefix: str) -> "Iterator[tuple[str, Landmarks]]":
    """The landmarks of each file that can be read, with its id."""
    from auralith.cli.progress import stage_progress
    from auralith.curation.identification import pruned, read_landmarks
    from auralith.curation.sound import UnusableSound

    with stage_progress() as show:
        for done, path in enumerate(paths, 1):
            try:
                found = pruned(read_landmarks(path))
            except UnusableSound as error:
                print(f"auralith: warning: {error}", file=sys.stderr)
            else:
                yield f"{prefix}{path.relative_to(root).with_suffix('').as_posix()}", found
            show("index", done, len(paths), "")


def identify(
    folder: Annotated[Path, typer.Argument(help="Folder of the curation.")],
    root: Annotated[Path, typer.Option(help="Folder that the paths of the sounds start from.")],
    index: Annotated[Path, typer.Option(help="Folder of the index of known recordings.")],
    set: Annotated[
        list[str] | None, typer.Option(help="Change any setting: --set alpha=1e-12.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
) -> None:
    """Find known recordings in those of the curation. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_step
    from auralith.curation.engine import EngineSettings, Step
    from auralith.curation.identification import Identify, IdentifySettings
    from auralith.settings import load_settings

    settings = load_settings(IdentifySettings, overrides=set or ())
    step = Step(Identify, settings, (index.resolve(),), heavy=True)
    run_step(folder, step, root, EngineSettings(workers=workers))

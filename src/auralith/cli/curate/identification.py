"""`auralith curate index` and `identify`: an index of known recordings, and a search for them in those of a curation."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.curate.options import CURATION, Folder, Root
from auralith.cli.fields import Given, Options
from auralith.cli.lines import warn

if TYPE_CHECKING:
    from auralith.fingerprint import Landmarks


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
    from auralith.errors import InvalidRequest
    from auralith.fingerprint import build_index
    from auralith.sound.sources import SOUND_SUFFIXES

    paths = sorted(p for p in sounds.rglob("*") if p.suffix.lower() in SOUND_SUFFIXES)
    if not paths:
        raise InvalidRequest(f"{sounds} holds no sound files; name the folder of the known ones")
    known = _landmarks(paths, sounds, f"{set}:" if set else "")
    print(f"{build_index(known, output, root=sounds):,} landmarks")
    print(output)


def _landmarks(paths: Sequence[Path], root: Path, prefix: str) -> Iterator[tuple[str, "Landmarks"]]:
    """Yield the id and the prominent landmarks of each file that can be read."""
    from auralith.cli.progress import stage_progress
    from auralith.errors import AudioError
    from auralith.fingerprint import pruned, read_landmarks

    with stage_progress() as show:
        for done, path in enumerate(paths, 1):
            try:
                found = pruned(read_landmarks(path))
            except AudioError as error:
                warn(error)
            else:
                yield f"{prefix}{path.relative_to(root).with_suffix('').as_posix()}", found
            show("index", done, len(paths), "")


def identify(
    folder: Folder,
    root: Root,
    set: Annotated[
        list[str] | None,
        typer.Option(help="Change any setting: --set alpha=1e-12, --set no_match_codes=[2005]."),
    ] = None,
    *,
    chosen: Annotated[
        Given,
        Options(
            CURATION,
            "index",
            provider="identify.providers",
            fpcalc="identifier.fpcalc",
            audible_magic="identifier.audible_magic",
            audible_magic_config="identifier.audible_magic_config",
            workers="engine.workers",
        ),
    ],
) -> None:
    """Find known recordings in those of the curation. Prints the counts by reason.

    AcoustID's key is read from AURALITH_ACOUSTID_KEY.
    """
    from auralith.cli.curate.steps import run_one, step_settings

    run_one(step_settings(folder, "identify", chosen, set), "identify", root)

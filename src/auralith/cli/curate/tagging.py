"""`auralith curate tag` and `calibrate`: seconds of music in each recording, and the threshold of their probability."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.curate.options import CURATION, Folder, Root
from auralith.cli.fields import Given, Options, Sets

if TYPE_CHECKING:
    import pyarrow as pa

    from auralith.curation.tagging.meter import Calibration


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(tag)
    app.command()(calibrate)


def tag(
    folder: Folder,
    root: Root,
    set: Annotated[
        list[str] | None,
        typer.Option(
            help="Change any setting: --set tagger=ast, class_set=music_only, threshold=0.2,"
            " min_seconds=20, rule=longest_run, stereo=max."
        ),
    ] = None,
    *,
    chosen: Annotated[
        Given,
        Options(
            CURATION,
            weights="tagger.weights",
            weights_sha256="tag.weights_sha256",
            allow_unknown_weights="tag.allow_unknown_weights",
            device="tagger.device",
            workers=Sets("engine.workers", help="Processes; 0: one, which uses all cores."),
        ),
    ],
) -> None:
    """Find the recordings with 30 s of music or more. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one, step_settings

    run_one(step_settings(folder, "tag", chosen, set), "tag", root)


def calibrate(
    folder: Annotated[Path, typer.Argument(help="Curation of known music, tagged.")],
    target: Annotated[
        Path | None, typer.Option(help="Another curation, tagged: how much of it is flagged.")
    ] = None,
) -> None:
    """Compute the largest threshold that misses no known music. Prints it with its confidence bound."""
    from auralith.curation.tagging.meter import calibrate, flagged_share

    found = calibrate(_tags(folder))
    _print(found)
    if target is not None and found.threshold is not None:
        share = flagged_share(_tags(target), found.threshold)
        print(f"flagged     {share:.2%} of {target}")


def _tags(folder: Path) -> "pa.Table":
    from auralith.curation.store import Store
    from auralith.curation.tagging.meter import COLUMNS
    from auralith.errors import InvalidRequest

    tags = Store(folder).read("tag", COLUMNS)
    if not tags.num_rows:
        raise InvalidRequest(f"{folder} has no tagged recordings; auralith curate tag comes first")
    return tags


def _print(found: "Calibration") -> None:
    print(f"tracks      {found.num_tracks:,} of full length")
    print(f"left out    {found.num_short:,} too short, {found.num_failed:,} not tagged")
    print(f"lowest q    {found.lowest:.6f} ({found.lowest_rec_id})")
    if found.threshold is None:
        print("threshold   none of 0.05 … 0.95: some track has too little music at all of them")
        return
    print(f"threshold   {found.threshold:.2f}")
    print(f"missed      at most {found.false_negative_bound:.3%} of music (95 % confidence)")

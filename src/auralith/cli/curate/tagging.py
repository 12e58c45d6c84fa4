"""`auralith curate tag` and `calibrate`: seconds of music in each recording, and the threshold of their probability."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from auralith.curation.tagging.meter import Calibration

Folder = Annotated[Path, typer.Argument(help="Folder of the curation.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(tag)
    app.command()(calibrate)


def tag(
    folder: Folder,
    root: Annotated[Path, typer.Option(help="Folder that the paths of the sounds start from.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Cnn14_DecisionLevelMax_mAP=0.385.pth; for the tagger ast, a folder."),
    ] = None,
    weights_sha256: Annotated[
        str | None, typer.Option("--weights-sha256", help="The hash that the weights must have.")
    ] = None,
    allow_unknown_weights: Annotated[
        bool,
        typer.Option(
            "--allow-unknown-weights",
            help="Trust weights of an unknown hash; from then on this curation takes no others.",
        ),
    ] = False,
    set: Annotated[
        list[str] | None,
        typer.Option(
            help="Change any setting: --set tagger=ast, class_set=music_only, threshold=0.2,"
            " min_seconds=20, rule=longest_run, stereo=max."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0: one, which uses all cores.")
    ] = 0,
) -> None:
    """Find the recordings with 30 s of music or more. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one
    from auralith.curation.engine import EngineSettings
    from auralith.curation.settings import CurationSettings, TaggerFiles
    from auralith.curation.tagging.stage import TaggingSettings
    from auralith.settings import load_settings

    chosen: dict[str, object] = {"allow_unknown_weights": True} if allow_unknown_weights else {}
    if weights_sha256:
        chosen["weights_sha256"] = weights_sha256
    settings = CurationSettings(
        folder,
        tag=load_settings(TaggingSettings, overrides=set or (), options=chosen),
        tagger=TaggerFiles(weights, device),
        engine=EngineSettings(workers=workers),
    )
    run_one(settings, "tag", root)


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

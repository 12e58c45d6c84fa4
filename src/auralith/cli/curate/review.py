"""`auralith curate review`: people look at suspects and decide. Titles are text of strangers, so characters that a terminal
would act on are escaped."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auralith.cli.curate.options import Folder
from auralith.cli.fields import Given, Options
from auralith.cli.lines import cell, warn

if TYPE_CHECKING:
    from auralith.curation.review import ItemView

ItemId = Annotated[
    str, typer.Argument(metavar="ITEM", help="The item, as `next` and `list` name it.")
]
Reviewer = Annotated[
    str, typer.Option(help="Who decides; everybody under one name, always the same.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Stage = Annotated[str | None, typer.Option(help="Only items of this step: identify or metadata.")]

review = typer.Typer(name="review", help="Look at suspects and decide.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(review)


@review.command("open")
def open_(folder: Folder) -> None:
    """Put what the steps flagged in the queue; what is in it stays. Prints how many are new."""
    from auralith.curation.review import open_items, suspects
    from auralith.curation.store import Store

    print(f"{open_items(folder, suspects(Store(folder)))} new items")


@review.command("next")
def next_(folder: Folder, reviewer: Reviewer, stage: Stage = None, as_json: AsJson = False) -> None:
    """Show the next item for a reviewer."""
    from auralith.curation.review import next_item

    view = next_item(folder, reviewer, stage)
    if view is None:
        print("no item is open for you", file=sys.stderr)
        return
    _show(view, as_json)


@review.command()
def show(
    folder: Folder,
    item: ItemId,
    reviewer: Annotated[
        str | None, typer.Option(help="Show what this person decided, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an item. Decisions of others are shown once it is settled."""
    from auralith.curation.review import view_item

    _show(view_item(folder, item, reviewer), as_json)


@review.command()
def decide(
    folder: Folder,
    item: ItemId,
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="keep, remove or unsure.")],
    reviewer: Reviewer,
    reason: Annotated[
        str | None, typer.Option(help="Reason code; a wrong one lists those there are.")
    ] = None,
    note: Annotated[str, typer.Option(help="Anything else.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace your decision, which stays in the log.")
    ] = False,
) -> None:
    """Decide on an item. Prints its state."""
    from auralith.curation import review as log

    own = log.view_item(folder, item, reviewer).own if replace else None
    replaced = own.revision if own else None
    recorded = log.decide(folder, item, reviewer, decision, reason, note, replaced)
    print(f"{item}: {recorded.decision.role} decision, {recorded.state}")


@review.command("list")
def list_(
    folder: Folder,
    state: Annotated[
        str | None, typer.Option(help="Only items that are open, kept or removed.")
    ] = None,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """List the items in the order of review, a line each, with the number of decisions."""
    from auralith.curation.review import cases
    from auralith.errors import Field, InvalidRequest, shown

    if state not in (None, "open", "kept", "removed"):
        raise InvalidRequest(Field("state"), f" is {shown(state)}; give open, kept or removed")
    for case in cases(folder):
        if (
            case.superseded
            or state not in (None, case.state)
            or stage not in (None, case.item.stage)
        ):
            continue
        facts = {
            **{name: getattr(case.item, name) for name in ("item_id", "stage", "tier", "score")},
            "decisions": len(case.decisions),
            "state": case.state,
            "rec_id": case.item.rec_id,
        }
        print(json.dumps(facts) if as_json else "  ".join(map(cell, facts.values())))


@review.command()
def withdraw(
    folder: Folder,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Recordings, as in freesound:7.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the log and on the card.")] = "",
    author: Annotated[
        list[str] | None, typer.Option(help="Every recording of this author, named exactly.")
    ] = None,
    url: Annotated[list[str] | None, typer.Option(help="The recording whose page this is.")] = None,
    reviewer: Annotated[str, typer.Option(help="Who takes it out.")] = "",
) -> None:
    """Take recordings out on request, for good. The next run, manifest, page and card are without them."""
    from auralith.curation.review import Selection
    from auralith.curation.review import withdraw as withdraw_from

    selection = Selection(tuple(ids or ()), tuple(author or ()), tuple(url or ()))
    new = withdraw_from(folder, selection, reason, reviewer)
    for id in new:
        print(cell(id))
    done = f"{len(new)} withdrawn" if new else "all of them were withdrawn before"
    print(
        f"{done}; auralith curate run RECIPE writes manifest, page and card anew", file=sys.stderr
    )


@review.command()
def verify(folder: Folder) -> None:
    """Check the log's chain of hashes: nothing was changed, removed, moved or cut. Exit code 2 otherwise."""
    from auralith.curation.review import newest_entry

    head = newest_entry(folder)
    if head is None:
        print("the curation has no chained review log")
        return
    print(f"{head.entries} entries, the last one has the hash {head.hash}")


@review.command("export")
def export(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help=".csv, or .json for Label Studio.")],
    *,
    chosen: Annotated[
        Given,
        Options(
            "auralith.curation.review.exchange.ExportOptions",
            *("reviewer", "settled", "stage", "audio_prefix"),
        ),
    ],
) -> None:
    """Write items to a file for other tools. With .json, prints Label Studio's labeling interface."""
    from auralith.curation.review import ExportOptions, export_items
    from auralith.curation.review.formats import labeling_config

    count = export_items(folder, file, ExportOptions(**chosen))
    print(f"{count} items", file=sys.stderr)
    if file.suffix.lower() == ".json":
        print(labeling_config(), end="")
        return
    print(file)


@review.command("import")
def import_(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="An exported .csv or .json with decisions.")],
    reviewer: Annotated[
        list[str] | None,
        typer.Option(
            help="Who decided where the file doesn't say: NAME, or ID=NAME for an account."
        ),
    ] = None,
) -> None:
    """Append the decisions in a file. Prints how many were new, known, blank, and not usable."""
    from auralith.curation.review import import_decisions

    report = import_decisions(folder, file, dict(map(_named, reviewer or ())))
    for line in report.rejected:
        warn(line)
    print(
        f"{report.appended} decisions added, {report.already} known, {report.blank} rows without one,"
        f" {len(report.rejected)} not usable"
    )


def _named(text: str) -> tuple[str, str]:
    id, equals, name = text.partition("=")
    return (id, name) if equals else ("", text)


@review.command()
def agreement(folder: Folder, as_json: AsJson = False) -> None:
    """Print Cohen's kappa of first and second decisions for each step, with the counts."""
    from auralith.curation.review import agreement as agreement_in

    for one in agreement_in(folder):
        counts = {f"{first}/{second}": n for (first, second), n in one.counts.items() if n}
        if as_json:
            facts = {"stage": one.stage, "items": one.num_items, "kappa": one.kappa}
            print(json.dumps({**facts, "counts": counts}))
            continue
        kappa = "undefined" if one.kappa is None else f"{one.kappa:.3f}"
        print(
            f"{one.stage}  kappa {kappa}  {one.num_items} items  {_joined(counts.items())}".rstrip()
        )


def _joined(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in pairs)


def _show(view: "ItemView", as_json: bool) -> None:
    item = {name: getattr(view.item, name) for name in view.item.__slots__}
    decisions = [{name: getattr(one, name) for name in one.__slots__} for one in view.decisions]
    known = {name: view.payload.get(name) for name in ("recording", "evidence")}
    facts = {**item, "state": view.state, "role": view.role, **known, "decisions": decisions}
    if as_json:
        print(json.dumps(facts))
        return
    for line in _lines(facts):
        print(line)


def _lines(value: Any, indent: str = "") -> Iterable[str]:
    """Yield the facts as indented lines, without empty ones."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else ((str(i), one) for i, one in enumerate(value, 1))
    )
    for name, one in pairs:
        if one is None or one == [] or one == "":
            continue
        if isinstance(one, dict | list):
            yield f"{indent}{cell(name)}"
            yield from _lines(one, indent + "  ")
        else:
            yield f"{indent}{cell(name)}: {cell(one)}"

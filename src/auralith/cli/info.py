"""`auralith info`: what a sound file is, and what its tags say about how it was made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from auralith.cli.lines import cell
from auralith.cli.options import AsJson
from auralith.escaping import json_line


def info(
    file: Annotated[Path, typer.Argument(help="A sound file.")],
    as_json: AsJson = False,
) -> None:
    """Show a sound file's length, levels and tags."""
    from auralith.sound.measuring import measure
    from auralith.sound.tags import read_tags

    found = measure(file)
    facts = {
        "file": str(file),
        "seconds": round(found.num_samples / found.sample_rate, 6),
        "samples": found.num_samples,
        "sample_rate": found.sample_rate,
        "channels": found.channels,
        "peak_db": _finite(found.peak_db),
        "rms_db": _finite(found.rms_db),
    }
    if found.notes:
        facts["note"] = "; ".join(found.notes)
    tags = read_tags(file)
    if as_json:
        print(json_line({**facts, "attribution": _attribution(tags), "tags": tags}))
        return
    if attribution := _attribution(tags):
        facts["attribution"] = attribution
    _print_table(facts)
    if tags is None:
        print("no tags of Auralith")
    else:
        _print_table(_flat(tags))


def _attribution(tags: dict[str, Any] | None) -> str | None:
    """Return the file that names everybody whose sounds the model of a file learned from, of the embedded model."""
    from auralith.checkpoints.attribution import attribution_of
    from auralith.pipeline import EMBEDDED
    from auralith.provenance import EMBEDDED_NAME

    return attribution_of(EMBEDDED) if (tags or {}).get("model") == EMBEDDED_NAME else None


def _finite(decibels: float) -> float | None:
    """JSON has no infinity; digital silence has no level."""
    return None if decibels == float("-inf") else round(decibels, 2) + 0.0


def _flat(tags: dict[str, Any]) -> dict[str, Any]:
    settings = tags.get("settings")
    if not isinstance(settings, dict):
        return tags
    return {**{key: value for key, value in tags.items() if key != "settings"}, **settings}


def _print_table(rows: dict[str, Any]) -> None:
    for name, value in rows.items():
        print(f"{cell(name):<16} {cell(value)}")

"""The curation of the packages: its sources and steps, and the decisions of people about what no step can tell."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from auralith.curation.engine import StageProgress
from auralith.curation.review import Selection, withdraw
from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from auralith.files import make_folder, whole_file
from auralith.settings import load_settings
from recipes.embedded.packages.fetch import HERE, Package
from recipes.embedded.packages.provenance import write_words

RECIPE, CURATION = "curate.toml", "curation"
_HEAD = """\
# The curation of the packages, as python -m recipes.embedded.packages wrote it: auralith curate run FILE repeats it.

folder = {folder}
stages = ["license", "preference", "probe", "fingerprint"]
license.licenses = ["cc0", "cc-by", "MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"]
dedupe = true

[publish]
name = "Real recordings of the embedded model"
description = "Recordings out of packages of Debian, npm and PyPI, under licenses that let anybody train on them."
"""


@dataclass(frozen=True)
class Refused:
    """A decision of people: recordings that are refused, with the reason."""

    ids: str
    """Glob of ids."""
    reason: str
    license: str | None = None
    """License, as the source writes it; any if None."""


def write_recipe(folder: Path, packages: Sequence[Package]) -> Path:
    """Write the recipe of the curation, and the tables of packages without a copyright file.

    Raises:
        InvalidRequest: a package doesn't hold what is expected of it.
        ResourceError: a file can't be written.
    """
    text = _HEAD.format(folder=json.dumps(str(folder / CURATION)))
    for package in packages:
        if not package.sounds:
            continue
        root = folder / "packages" / package.folder
        source = {"name": package.source, "sounds": str(root / package.sounds)}
        if package.copyright:
            source |= {"kind": "debian", "path": str(root / package.copyright)}
            source |= {"prefix": package.prefix}
        else:
            table = folder / "tables" / f"{package.source}.csv"
            make_folder(table.parent)
            write_words(package.words, root / package.sounds, table)
            source |= {"kind": "table", "path": str(table)}
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in sorted(source.items()))
        text += "\n[[sources]]\n" + "".join(lines)
    with whole_file(folder / RECIPE) as file:
        file.write(text.encode())
    return folder / RECIPE


def curated(recipe: Path) -> Iterator[StageProgress]:
    """Run the steps, then take the decisions in; yield the progress.

    Raises:
        AuralithError: a source or a step can't be used at all.
    """
    settings = load_settings(CurationSettings, recipe)
    yield from curate(settings)
    decide(settings.folder)


def decide(folder: Path) -> int:
    """Enter the decisions of decisions.toml into the log of a curation; return the number of recordings newly refused."""
    table = tomllib.loads((HERE / "decisions.toml").read_text(encoding="utf-8"))
    rows = Store(folder).recordings(["rec_id", "license_raw"]).to_pylist()
    count = 0
    for one in (Refused(**entry) for entry in table["refused"]):
        ids = [row["rec_id"] for row in rows if _is_meant(one, row["rec_id"], row["license_raw"])]
        if ids:
            count += len(withdraw(folder, Selection(tuple(ids)), one.reason, table["reviewer"]))
    return count


def _is_meant(one: Refused, rec_id: str, license: str | None) -> bool:
    return fnmatchcase(rec_id, one.ids) and one.license in (None, license)

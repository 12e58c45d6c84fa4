"""Table that the corpus reads of a finished curation, and the file that names everybody.

recordings.csv   recordings with captions, to train on     held_out.csv   those for evaluation alone
unnamed.csv      recordings without captions, for the autoencoder     ATTRIBUTION   every author, with each title
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auralith.checkpoints.attribution import ATTRIBUTION
from auralith.curation.publish.manifest import read_manifest
from auralith.files import whole_file
from recipes.embedded.packages.captions import named
from recipes.embedded.packages.curation import CURATION
from recipes.embedded.packages.fetch import Package

COLUMNS = ("path", "caption", "license", "source", "title", "author", "url", "seconds")
TABLES = ("recordings", "held_out", "unnamed")
_READ = ("rec_id", "path", "title", "author", "url", "source", "license_spdx", "license_uri")
Row = Mapping[str, Any]


def write_tables(folder: Path) -> dict[str, int]:
    """Write the tables of a curation beside it, and return the number of rows of each.

    Raises:
        ResourceError: a file can't be read or written.
    """
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    for row in read_manifest(folder / CURATION, [*_READ, "duration_s"]).to_pylist():
        about = named(row["source"], row["rec_id"].partition(":")[2])
        kind = (
            "unnamed" if about.caption is None else "held_out" if about.held_out else "recordings"
        )
        tables[kind].append(
            {
                **row,
                "path": os.path.normpath(os.path.join(CURATION, row["path"])),
                "caption": about.caption or "",
                "license": row["license_spdx"],
                "seconds": f"{row['duration_s']:.3f}",
            }
        )
    for name, rows in tables.items():
        text = io.StringIO()
        writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(folder / f"{name}.csv") as file:
            file.write(text.getvalue().encode())
    return {name: len(rows) for name, rows in tables.items()}


def write_attribution(folder: Path, packages: Sequence[Package]) -> Path:
    """Write the names of everybody whose sounds the model learned from: authors of fonts, and each recording by author.

    Raises:
        ResourceError: a file can't be read or written.
    """
    lines = [
        "The embedded model was trained on sounds of these people. They were cut, resampled, mixed and encoded for",
        "training, and are not in the package. Nobody named here endorses the model.",
        "",
        "SoundFonts",
        "",
    ]
    for package in packages:
        if package.font:
            lines += [
                f"{Path(package.font).name} ({package.version}) by {package.author}",
                f"    {package.license}; {package.url}",
            ]
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read_manifest(folder / CURATION, _READ).to_pylist():
        groups[row["license_spdx"], row["author"] or "not named"].append(row)
    lines += ["", "Recordings", ""]
    for (license, author), rows in sorted(groups.items(), key=lambda one: _order(one[0])):
        lines.append(f"{_line(author)}, {license}, {rows[0]['license_uri']}")
        by_url: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            by_url[row["url"] or ""].append(_line(row["title"] or row["rec_id"]))
        for url, titles in sorted(by_url.items()):
            lines.append(f"    {', '.join(sorted(titles))}{': ' + url if url else ''}")
    with whole_file(folder / ATTRIBUTION) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return folder / ATTRIBUTION


def _order(key: tuple[str, str]) -> tuple[str, str]:
    return key[1].casefold(), key[0]


def _line(text: str) -> str:
    """Return a text from outside on one line, without characters that are not printed."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())

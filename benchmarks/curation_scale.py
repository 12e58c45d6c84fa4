"""Curation at the size of the published data set: 486,492 recordings through every step that needs no audio.

The table is made up, in the model card's proportions of sources and licenses and with its hours; words are drawn so
that authors, titles and tags repeat about as much as real ones do. Each step is timed as a run does it, from Parquet
to Parquet; memory is the largest resident size of this process so far, so that of a step is at most what it shows.

    python -m benchmarks.curation_scale FOLDER
"""

import csv
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from auralith.curation.engine import StageProgress
from auralith.curation.outcomes import outcomes
from auralith.curation.publish.attribution import write_attribution
from auralith.curation.publish.card import write_card
from auralith.curation.publish.croissant import write_croissant
from auralith.curation.publish.funnel import write_funnel
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.curation.sources import SourceSettings
from auralith.curation.store import Store
from benchmarks.metadata_catalogue import generate_catalogue


class Share(NamedTuple):
    """One line of the card: recordings of one source under one license."""

    source: str
    license: str
    url: str
    recordings: int


CC = "https://creativecommons.org"
CARD = (
    Share("freesound", "Creative Commons 0", f"{CC}/publicdomain/zero/1.0/", 266_324),
    Share("freesound", "Attribution", f"{CC}/licenses/by/4.0/", 194_840),
    Share("freesound", "Sampling+", f"{CC}/licenses/sampling+/1.0/", 11_454),
    Share("fma", "Attribution", f"{CC}/licenses/by/4.0/", 8_967),
    Share("fma", "CC0 1.0 Universal", f"{CC}/publicdomain/zero/1.0/", 4_907),
)
HOURS = {"freesound": 6_330.0, "fma": 970.0}
PREFERENCES = ("no-additional-preferences", "open-source-models", "")
COLUMNS = (
    *("id", "url", "title", "author", "author_url", "tags", "description", "license_raw"),
    *("license_url_raw", "gen_ai_preference", "duration_s"),
)
CATALOGUE_ROWS = 114_000
_SUFFIXES = ((".wav", 0.56), ("", 0.28), (".mp3", 0.07), (".aif", 0.05), (".flac", 0.04))


def write_recordings(folder: Path, scale: float, seed: int) -> dict[str, Path]:
    """A CSV for each source, and where it lies."""
    paths = {}
    for source in HOURS:
        shares = [share for share in CARD if share.source == source]
        paths[source] = folder / f"{source}.csv"
        with paths[source].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_rows(shares, scale, np.random.default_rng([seed, len(source)])))
    return paths


def _rows(shares: list[Share], scale: float, rng: np.random.Generator) -> Iterator[list[object]]:
    of_share = np.repeat(np.arange(len(shares)), [round(s.recordings * scale) for s in shares])
    rng.shuffle(of_share)
    size, source = len(of_share), shares[0].source
    seconds = rng.lognormal(0.0, 1.0, size)
    seconds *= HOURS[source] * 3_600 * scale / seconds.sum()
    words = _Words(rng, size)
    preference = rng.choice(len(PREFERENCES), size, p=[0.9, 0.05, 0.05])
    for number, share in enumerate(shares[i] for i in of_share):
        author = words.author()
        page = f"https://{source}.org/people/{author.replace(' ', '_')}/"
        yield [
            *(number + 1, f"{page}sounds/{number + 1}/", words.title(), author, page),
            *(words.phrase(6), words.phrase(20), share.license, share.url),
            *(PREFERENCES[preference[number]], f"{seconds[number]:.3f}"),
        ]


class _Words:
    """Texts of words that are drawn with falling frequency."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        signs = np.array(list("aeiouaeioubdfgklmnprstvw"))
        self._words = ["".join(rng.choice(signs, rng.integers(2, 9))) for _ in range(30_000)]
        self._authors = [self._pick(2).title() for _ in range(max(1, size // 20))]
        self._suffixes = [suffix for suffix, _ in _SUFFIXES]

    def author(self) -> str:
        return self._authors[int(len(self._authors) * self._rng.random() ** 2)]

    def title(self) -> str:
        suffix = self._rng.choice(self._suffixes, p=[share for _, share in _SUFFIXES])
        return self._pick(int(self._rng.integers(1, 6))) + suffix

    def phrase(self, longest: int) -> str:
        return self._pick(int(self._rng.integers(1, longest + 1)))

    def _pick(self, count: int) -> str:
        places = (len(self._words) * self._rng.random(count) ** 3).astype(int)
        return " ".join([self._words[place] for place in places])


def write_catalogue(path: Path, seed: int) -> None:
    """A list of commercial music of the size of the public one."""
    header = ("track_id", "artists", "album_name", "track_name", "duration_ms")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for work in generate_catalogue(CATALOGUE_ROWS, seed).works:
            duration = round((work.seconds or 0.0) * 1_000)
            writer.writerow([work.id, work.artist, work.album, work.title, duration])


def timed(steps: Iterable[StageProgress]) -> Iterator[tuple[StageProgress, float]]:
    """The last progress of each step, and the seconds until the next one began."""
    started, last = time.perf_counter(), None
    for at in steps:
        if last is not None and at.stage != last.stage:
            ended = time.perf_counter()
            yield last, ended - started
            started = ended
        last = at
    if last is not None:
        yield last, time.perf_counter() - started


def peak_mib() -> float:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main(
    folder: Annotated[Path, typer.Argument(help="Where everything is written; a new folder.")],
    scale: Annotated[float, typer.Option(help="1 for the card's counts.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the made-up table.")] = 0,
) -> None:
    """Print seconds and memory of each step."""
    folder.mkdir(parents=True)
    sources = write_recordings(folder, scale, seed)
    write_catalogue(folder / "catalogue.csv", seed)
    settings = CurationSettings(
        folder=folder / "curation",
        sources=tuple(SourceSettings("table", path, name=name) for name, path in sources.items()),
        stages=("license", "preference", "metadata", "guard"),
        catalogue=folder / "catalogue.csv",
    )
    table = Table("step", "recordings", "s", "per second", "peak MiB", "counts")
    for at, seconds in timed(curate(settings)):
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(at.counts.items()))
        rate = f"{at.total / seconds:,.0f}"
        table.add_row(
            at.stage, f"{at.total:,}", f"{seconds:.1f}", rate, f"{peak_mib():,.0f}", counts
        )
    store = Store(settings.folder)
    started = time.perf_counter()
    found = outcomes(store, settings)
    seconds = time.perf_counter() - started
    groups = found.group_by("outcome").aggregate([("rec_id", "count"), ("seconds", "sum")])
    counts = ", ".join(
        f"{row['rec_id_count']:,} {row['outcome']} ({row['seconds_sum'] / 3_600:,.1f} h)"
        for row in groups.sort_by("outcome").to_pylist()
    )
    rate = f"{found.num_rows / seconds:,.0f}"
    table.add_row(
        "outcomes", f"{found.num_rows:,}", f"{seconds:.1f}", rate, f"{peak_mib():,.0f}", counts
    )
    outputs = {
        "funnel": lambda: write_funnel(store, settings, found),
        "manifest": lambda: write_manifest(store, settings, found),
        "attribution": lambda: write_attribution(store.folder, settings.publish),
        "croissant": lambda: write_croissant(store, settings.publish),
        "card": lambda: write_card(store, settings),
    }
    for name, write in outputs.items():
        started = time.perf_counter()
        write()
        seconds = time.perf_counter() - started
        table.add_row(name, f"{found.num_rows:,}", f"{seconds:.1f}", "", f"{peak_mib():,.0f}", "")
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)

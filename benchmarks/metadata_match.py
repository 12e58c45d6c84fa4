"""The metadata search at its full size: time, memory, recall by kind of damage, precision against recall.

Searches for the tracks of a CSV file (`title` and `author`, such as the public FMA attribution list; generated ones if
none is given) in a generated catalogue in the Spotify-tracks schema, some of whose rows are the searched tracks themselves,
misspelled. Seconds are wall time, and in brackets the process's own, which other work on the machine does not change.

    python -m benchmarks.metadata_match --queries fma_attribution.csv --rows 114000 --plot curve.png
"""

import argparse
import csv
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from auralith.curation.metadata import TIERS, Searcher, Work, read_catalogue
from auralith.files import whole_file
from benchmarks.metadata_catalogue import generate_catalogue
from benchmarks.metadata_corruptions import (
    CORRUPTIONS,
    CurvePoint,
    precision_recall,
    recall_by_corruption,
)

THRESHOLDS = (*range(50, 90, 5), *range(90, 101))


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, own = time.perf_counter(), time.process_time()
    yield
    print(f"{what:44} {time.perf_counter() - wall:7.2f} s  ({time.process_time() - own:.2f} s)")


def read_queries(path: Path | None) -> list[Work]:
    """Titles and authors of a table, or generated ones."""
    if path is None:
        return list(generate_catalogue(15_000, seed=5).works)
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Work(f"query {i}", row["title"], row["author"])
            for i, row in enumerate(csv.DictReader(file))
        ]


def plant(queries: Sequence[Work], count: int, seed: int) -> list[Work]:
    """Misspelled copies of `count` of the queries."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(queries), min(count, len(queries)), replace=False)
    kinds = rng.choice(list(CORRUPTIONS), len(chosen)).tolist()
    return [
        replace(CORRUPTIONS[kind](queries[i], rng), id=f"planted {i}")
        for kind, i in zip(kinds, chosen.tolist(), strict=True)
    ]


def write_list(path: Path, works: Sequence[Work]) -> None:
    """The works in the Spotify-tracks schema."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "track_id", "artists", "album_name", "track_name", "duration_ms"])
        for number, work in enumerate(works):
            milliseconds = "" if work.seconds is None else round(work.seconds * 1000)
            writer.writerow([number, work.id, work.artist, work.album, work.title, milliseconds])


def prepare(queries: Sequence[Work], rows: int, planted: int) -> Searcher:
    """Write a catalogue, read it back, and index it."""
    copies = plant(queries, planted, seed=2)
    works = [*generate_catalogue(rows, seed=1).works, *copies]
    works += works[: rows - len(works)]  # tracks repeat over genres
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.csv"
        write_list(path, works[:rows])
        with timed(f"read {rows:,} rows"):
            catalogue = read_catalogue(path)
    print(catalogue.summary())
    with timed("index"):
        return Searcher(catalogue)


def measure_search(searcher: Searcher, queries: Sequence[Work]) -> None:
    """Time of the search, what it flags, and how many planted copies it finds."""
    with timed(f"search {len(queries):,} x {searcher.catalogue.num_rows:,}"):
        found = searcher.search(queries, limit=20)
    tiers = Counter(one.matches[0].tier for one in found if one.matches)
    print("flagged:", ", ".join(f"{tiers[tier]} {tier}" for tier in TIERS), f"of {len(found)}")
    planted = [work.id for work in searcher.catalogue.works if work.id.startswith("planted ")]
    copies = {int(id.removeprefix("planted ")) for id in planted}
    again = sum(any(m.ref_id == f"planted {i}" for m in found[i].matches) for i in copies)
    print(f"planted copies found by the track they copy: {again} of {len(copies)}")


def print_recall(searcher: Searcher, sample: Sequence[Work]) -> None:
    print(f"\n{'corruption':16}{'tracks':>8}{'recall':>9}", *(f"{tier:>7}" for tier in TIERS))
    for one in recall_by_corruption(searcher, sample, seed=3):
        counts = (f"{one.by_tier[tier]:>7}" for tier in TIERS)
        print(f"{one.corruption:16}{one.total:>8}{one.recall:>9.4f}", *counts)


def print_curve(points: Sequence[CurvePoint]) -> None:
    print(f"\n{'lower score':>12}{'precision':>12}{'recall':>9}")
    for one in points:
        print(f"{one.threshold:>12.0f}{one.precision:>12.4f}{one.recall:>9.4f}")


def plot(points: Sequence[CurvePoint], path: Path) -> None:
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(5, 4))).subplots()
    axes.plot([one.recall for one in points], [one.precision for one in points], marker=".")
    for one in points[::2]:
        axes.annotate(f"{one.threshold:.0f}", (one.recall, one.precision), fontsize=7)
    axes.set(xlabel="recall", ylabel="precision", title="threshold on the lower of both scores")
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--queries", type=Path, help="CSV with title and author")
    parser.add_argument("--rows", type=int, default=114_000, help="rows of the catalogue")
    parser.add_argument("--planted", type=int, default=1_000, help="queries among them")
    parser.add_argument("--sample", type=int, default=2_000, help="tracks for the recall")
    parser.add_argument("--plot", type=Path, help="PNG of the curve")
    arguments = parser.parse_args()
    queries = read_queries(arguments.queries)
    searcher = prepare(queries, arguments.rows, arguments.planted)
    measure_search(searcher, queries)
    works = searcher.catalogue.works
    sample = works[:: max(1, len(works) // arguments.sample)]
    print_recall(searcher, sample)
    strangers = generate_catalogue(5_000, seed=7).works
    points = precision_recall(searcher, sample, strangers, THRESHOLDS, seed=3)
    print_curve(points)
    if arguments.plot:
        plot(points, arguments.plot)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:,.0f} MiB")


if __name__ == "__main__":
    main()

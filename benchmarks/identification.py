"""The landmark matcher: recall and precision by distortion, false positives on sounds that are not in the index, scale.

    python -m benchmarks.identification FOLDER --hours 1000

Writes reference songs into FOLDER/references and indexes them. Queries are those songs, distorted; negatives are other
songs by the same instruments, the corpus's loops, and field recordings. The figures depend on the seed only. With
--hours also an index of that many hours of made-up landmarks, whose frequencies and intervals are drawn from the songs'.
"""

import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from jaxtyping import Int

from auralith.fingerprint import (
    LandmarkIndex,
    Landmarks,
    SearchOptions,
    build_index,
    landmarks_of,
    pruned,
    read_landmarks,
    search,
)
from auralith.fingerprint.landmark import PARAMETERS
from benchmarks import identification_sounds as sounds

SECONDS, NEGATIVE_SECONDS, TRACK_SECONDS = 40, 30, 200
HELD_OUT = 1_000_000
"""First seed of the negatives."""
ALPHA = SearchOptions().alpha
NEARLY_CERTAIN = 0.99
"""Every alignment below this probability is noted, so that the best of the wrong ones can be told."""
LEVELS = (1e-6, ALPHA, 1e-12)
LOOPS_EVERY = 5
"""Of references and queries one in so many is loops, not a song."""
DISTORTIONS: dict[str, sounds.Distortion] = {
    "identity, 40 s": sounds.gain(0),
    "mp3, 10 s": sounds.chain(sounds.excerpt(10), sounds.coded("MP3")),
    "mp3, 5 s": sounds.chain(sounds.excerpt(5), sounds.coded("MP3")),
    "vorbis, 10 s": sounds.chain(sounds.excerpt(10), sounds.coded("OGG")),
    "gain -20 dB, 10 s": sounds.chain(sounds.excerpt(10), sounds.gain(-20)),
    "16 kHz mono, 10 s": sounds.chain(sounds.excerpt(10), sounds.narrow(16_000)),
    "white noise, SNR 10 dB, 10 s": sounds.chain(sounds.excerpt(10), sounds.in_white_noise(10)),
    "white noise, SNR 0 dB, 10 s": sounds.chain(sounds.excerpt(10), sounds.in_white_noise(0)),
    "10 dB under white noise, 30 s": sounds.chain(sounds.excerpt(30), sounds.in_white_noise(-10)),
    "field, SNR 0 dB, 30 s": sounds.chain(sounds.excerpt(30), sounds.in_the_field(0)),
    "10 dB under the field, 30 s": sounds.chain(sounds.excerpt(30), sounds.in_the_field(-10)),
    "10 dB under the field, 10 s": sounds.chain(sounds.excerpt(10), sounds.in_the_field(-10)),
    "speed +1 %, 40 s": sounds.faster(1),
    "speed -1.3 %, 40 s": sounds.faster(-1.3),
    "speed +2 %, 40 s": sounds.faster(2),
}


@dataclass(frozen=True)
class Asked:
    """What a query had to find, and the probability of every reference that it found, whatever that is."""

    expected: frozenset[str]
    found: dict[str, float]

    def right(self) -> list[float]:
        return [self.found.get(name, 1.0) for name in self.expected]

    def wrong(self) -> list[float]:
        return [p for name, p in self.found.items() if name not in self.expected]


def main(
    folder: Annotated[Path, typer.Argument(help="Where the references and indexes go.")],
    references: Annotated[int, typer.Option(min=2, help="Songs in the index.")] = 300,
    queries: Annotated[int, typer.Option(min=2, help="Of each distortion.")] = 60,
    negatives: Annotated[int, typer.Option(min=1, help="Sounds not in it, of each kind.")] = 100,
    hours: Annotated[float, typer.Option(min=0, help="Size of the made-up index.")] = 0.0,
    seed: int = 0,
) -> None:
    """Prints tables in Markdown."""
    folder = folder / f"seed-{seed}-{references}"
    known = write_references(folder / "references", references, seed)
    marks = {path.stem: pruned(read_landmarks(path)) for path in known}
    if not (folder / "index").is_dir():
        build_index(marks.items(), folder / "index")
    index = LandmarkIndex.open(folder / "index")
    print_distortions(index, known, min(queries, references), seed)
    print_negatives(index, negatives, seed)
    if hours:
        print_scale(folder, list(marks.items()), known, hours, seed)


def is_song(number: int) -> bool:
    return number % LOOPS_EVERY > 0


def write_references(folder: Path, count: int, seed: int) -> list[Path]:
    """A file for each reference; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.flac" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            make = sounds.song if is_song(number) else sounds.loops
            sound = make(seed * 2 * HELD_OUT + number, SECONDS)
            soundfile.write(path, sound, sounds.RATE)
    return paths


def ask(index: LandmarkIndex, sound: sounds.Mono, *expected: Path) -> Asked:
    query = landmarks_of(iter([sound]), sounds.RATE)
    occurrences = search(index, query, SearchOptions(alpha=NEARLY_CERTAIN))
    found = {one.ref_id: one.p_value for one in reversed(occurrences)}  # the surest stays
    return Asked(frozenset(path.stem for path in expected), found)


def print_distortions(index: LandmarkIndex, known: Sequence[Path], queries: int, seed: int) -> None:
    columns = ("distortion", "queries", "recall of songs", "recall of loops", "precision")
    columns += ("median p", "worst true p", "best wrong p")
    print(f"\n{len(known)} references of {SECONDS} s; a match is p ≤ {ALPHA:g}\n")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    chosen = np.random.default_rng(seed).choice(len(known), queries, replace=False).tolist()
    for kind, (name, distort) in enumerate(DISTORTIONS.items()):
        print_row(name, list(distorted(index, [known[i] for i in chosen], distort, (seed, kind))))
    pairs = ((known[i], known[k]) for i, k in zip(chosen[::2], chosen[1::2], strict=False))
    mixes = [ask(index, 0.5 * read(one) + 0.5 * read(two), one, two) for one, two in pairs]
    print_row(f"two at once, {SECONDS} s", mixes)


def distorted(
    index: LandmarkIndex,
    paths: Sequence[Path],
    distort: sounds.Distortion,
    seed: tuple[int, int],
) -> Iterator[Asked]:
    for path in paths:
        rng = np.random.default_rng((*seed, int(path.stem)))
        yield ask(index, distort(read(path), rng), path)


def read(path: Path) -> sounds.Mono:
    return soundfile.read(path, dtype="float32")[0]


def print_row(name: str, asked: Sequence[Asked]) -> None:
    right = [p for one in asked for p in one.right()]
    wrong = [p for one in asked for p in one.wrong()]
    of_songs, of_loops = (
        [one.found.get(i, 1.0) for one in asked for i in one.expected if is_song(int(i)) is songs]
        for songs in (True, False)
    )
    hit, false = (sum(p <= ALPHA for p in ps) for ps in (right, wrong))
    cells = (
        f"{len(asked)}",
        *(share(sum(p <= ALPHA for p in ps), len(ps)) for ps in (of_songs, of_loops)),
        share(hit, hit + false),
        *(power(p) for p in (float(np.median(right)), max(right), min(wrong, default=1.0))),
    )
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part}/{whole})" if whole else "–"


def power(p: float) -> str:
    return "< 1e-300" if p < 1e-300 else "1" if p > 0.995 else f"{p:.0e}"


def print_negatives(index: LandmarkIndex, count: int, seed: int) -> None:
    levels = " | ".join(f"p ≤ {level:g}" for level in LEVELS)
    print(f"\n| not in the index, {NEGATIVE_SECONDS} s | queries | {levels} | smallest p |")
    print("|---|" + "---|" * (len(LEVELS) + 2))
    kinds = {
        "songs": sounds.song,
        "loops": sounds.loops,
        "field recordings": sounds.field_recording,
    }
    for name, make in kinds.items():
        found = [
            ask(index, make((2 * seed + 1) * HELD_OUT + number, NEGATIVE_SECONDS))
            for number in range(count)
        ]
        best = [min(one.wrong(), default=1.0) for one in found]
        false = (share(sum(p <= level for p in best), count) for level in LEVELS)
        cells = (name, str(count), *false, power(min(best)))
        print(f"| {' | '.join(cells)} |", flush=True)


def print_scale(
    folder: Path,
    marks: Sequence[tuple[str, Landmarks]],
    known: Sequence[Path],
    hours: float,
    seed: int,
) -> None:
    """Build and ask in processes of their own, so that each has its own memory."""
    index = folder / f"index-{hours:g}-hours"
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        if not index.exists():
            postings, built, memory = pool.apply(build, (index, marks, hours, seed))
            size = sum(path.stat().st_size for path in index.iterdir()) / 1e9
            print(f"\n{hours:g} h: {postings:,} postings built in {built:.0f} s", end="")
            print(f" with {memory:.2f} GB of memory; {size:.2f} GB on disk")
        print("\n| query | hits | s | matches | right |\n|---|---|---|---|---|")
        for line in pool.apply(ask_all, (index, known, seed)):
            print(line)


def build(
    index: Path, marks: Sequence[tuple[str, Landmarks]], hours: float, seed: int
) -> tuple[int, float, float]:
    """Postings, seconds, and the largest memory (GB). The made-up tracks come after the real ones."""
    started = time.perf_counter()
    postings = build_index(tracks(marks, hours, np.random.default_rng(seed)), index)
    return postings, time.perf_counter() - started, memory_gb()


def tracks(
    marks: Sequence[tuple[str, Landmarks]], hours: float, rng: np.random.Generator
) -> Iterator[tuple[str, Landmarks]]:
    """The frequency of each landmark is a real one, and so is its interval, of one of nearly that frequency."""
    yield from marks
    pool = np.sort(np.concatenate([mark.hashes for _, mark in marks]))
    count = TRACK_SECONDS * PARAMETERS.reference_hashes_per_second
    num_frames = round(TRACK_SECONDS / PARAMETERS.seconds_per_frame)
    for number in range(round(hours * 3_600 / TRACK_SECONDS)):
        place = rng.integers(0, len(pool), count)
        near = (place + rng.integers(-2_000, 2_001, count)).clip(0, len(pool) - 1)
        hashes: Int[np.ndarray, " hash"] = pool[place] >> 13 << 13 | pool[near] & 0x1FFF
        frames = np.sort(rng.integers(0, num_frames, count))
        yield f"made-{number}", Landmarks(hashes, frames, np.zeros(count), num_frames, 0.0)


def ask_all(index: Path, known: Sequence[Path], seed: int) -> list[str]:
    """A line for each query: known and unknown ones, the first before anything is in memory."""
    opened = LandmarkIndex.open(index)
    half = sounds.excerpt(30)
    unknown = sounds.song((2 * seed + 1) * HELD_OUT, SECONDS)
    asked = {
        "30 s of a known song": (known[1].stem, half(read(known[1]), np.random.default_rng(seed))),
        "30 s of another": (known[2].stem, half(read(known[2]), np.random.default_rng(seed))),
        "the same in white noise, SNR 0 dB": (
            known[2].stem,
            sounds.chain(half, sounds.in_white_noise(0))(
                read(known[2]), np.random.default_rng(seed)
            ),
        ),
        "30 s of an unknown song": ("", half(unknown, np.random.default_rng(seed))),
    }
    lines = []
    for name, (expected, sound) in asked.items():
        query = landmarks_of(iter([sound]), sounds.RATE)
        started = time.perf_counter()
        matches = search(opened, query)
        seconds = time.perf_counter() - started
        hits = len(opened.postings(query.hashes)[0])
        right = len({match.ref_id for match in matches} & {expected})
        lines.append(f"| {name} | {hits:,} | {seconds:.2f} | {len(matches)} | {right} |")
    return [*lines, f"\nLargest memory of the queries: {memory_gb():.2f} GB"]


def memory_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e9


if __name__ == "__main__":
    typer.run(main)

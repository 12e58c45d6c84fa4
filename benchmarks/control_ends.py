"""Errors of the measures of level, place, ends and seams, where something is planted in real recordings, and where not.

    python -m benchmarks.control_ends --recordings FOLDER

Prints a table in Markdown: for each control how often it is met where it should be, and missed where it should be. The
recordings are one-shots, notes and effects of the packages that `control_recordings` names, and its loops. A loop is
trusted to wrap, since its length is a whole number of beats.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from jaxtyping import Float

from auralith.controls import check
from auralith.sound.loudness import LoudnessMeter
from benchmarks.control_recordings import STATED

Sound = Float[np.ndarray, "channel sample"]
Planted = Callable[[Sound, int, np.random.Generator], Sound | None]
"""Returns what becomes of a recording at a rate in Hz; None where it can't be done to it."""
_FILES = ("samples/*.flac", "berklee/*.mp3", "*_normal.mp3", "*v10.ogg")
_EBU = {
    "seq-3341-1-16bit": -23.0,
    "seq-3341-2-16bit": -33.0,
    "seq-3341-3-16bit-v02": -23.0,
    "seq-3341-4-16bit-v02": -23.0,
    "seq-3341-5-16bit-v02": -23.0,
    "seq-3341-7_seq-3342-5-16bit": -23.0,
    "1kHz_sine_-20LUFS-16bit": -20.0,
    "1kHz_sine_-26LUFS-16bit": -26.0,
    "1kHz_sine_-40LUFS-16bit": -40.0,
}
"""Test signals of EBU Tech 3341 and what they measure (±0.1)."""


def panned(db: float) -> Planted:
    """One channel on both sides, the right louder by so many dB."""

    def plant(sound: Sound, rate: int, rng: np.random.Generator) -> Sound:
        mono = sound.mean(axis=0)
        return np.stack([mono * 10 ** (-db / 40), mono * 10 ** (db / 40)])

    return plant


def widened(db: float) -> Planted:
    """A side signal of the same spectrum with random phases, at a level relative to the mid."""

    def plant(sound: Sound, rate: int, rng: np.random.Generator) -> Sound:
        mid = sound.mean(axis=0)
        spectrum = np.fft.rfft(mid)
        spectrum = spectrum * np.exp(2j * np.pi * rng.random(len(spectrum)))
        side = np.fft.irfft(spectrum, len(mid)) * 10 ** (db / 20)
        return np.stack([mid + side, mid - side])

    return plant


def peak_at(db: float) -> Planted:
    return lambda sound, rate, rng: sound * 10 ** (db / 20) / np.abs(sound).max()


def clipped(db: float) -> Planted:
    """Louder than full scale by so many dB, and cut off there."""
    return lambda sound, rate, rng: np.clip(sound * 10 ** (db / 20) / np.abs(sound).max(), -1, 1)


def untouched(sound: Sound, rate: int, rng: np.random.Generator) -> Sound:
    return sound


def faded(sound: Sound, rate: int, rng: np.random.Generator) -> Sound | None:
    """Faded over 5 ms at both ends."""
    size = round(0.005 * rate)
    if sound.shape[1] < 4 * size:
        return None
    ramp = np.ones(sound.shape[1])
    ramp[:size], ramp[-size:] = np.linspace(0, 1, size), np.linspace(1, 0, size)
    return sound * ramp


def cut(*, at_start: bool) -> Planted:
    """Cut at a random place that sounds: within 20 dB of the loudest 20 ms of what is kept; the other end is faded."""

    def plant(sound: Sound, rate: int, rng: np.random.Generator) -> Sound | None:
        whole = faded(sound, rate, rng)
        size = round(0.02 * rate)
        if whole is None or whole.shape[1] < 8 * size:
            return None
        place = int(rng.integers(2 * size, whole.shape[1] - 2 * size))
        kept = whole[:, place:] if at_start else whole[:, : place + 1]
        levels = np.sqrt(
            [np.square(kept[:, k : k + size]).mean() for k in range(0, kept.shape[1], size)]
        )
        outermost = kept[:, :size] if at_start else kept[:, -size:]
        sounds = np.sqrt(np.square(outermost).mean()) >= 0.1 * levels.max()
        return kept if sounds else None

    return plant


def turned(sound: Sound, rate: int, rng: np.random.Generator) -> Sound:
    """A loop that begins at another place."""
    return np.roll(sound, int(rng.integers(sound.shape[1])), axis=1)


def turned_and_faded(sound: Sound, rate: int, rng: np.random.Generator) -> Sound | None:
    return faded(turned(sound, rate, rng), rate, rng)


def shortened(sound: Sound, rate: int, rng: np.random.Generator) -> Sound | None:
    """A loop that lacks its last 5 to 40 %, cut where it is a tenth of the peak away from its start."""
    size = sound.shape[1]
    peak = np.abs(sound).max()
    away = np.abs(sound - sound[:, :1]).max(axis=0) > 0.1 * peak
    places = np.flatnonzero(away[round(0.6 * size) : round(0.95 * size)]) + round(0.6 * size)
    return sound[:, : int(rng.choice(places)) + 1] if len(places) else None


CHECKS: tuple[tuple[str, str, str, Planted, bool], ...] = (
    ("left", "panned left", "panned by 6 dB", panned(-6), True),
    ("left", "panned left", "in the middle", panned(0), False),
    ("right", "panned right", "panned by 6 dB", panned(6), True),
    ("right", "panned right", "panned left by 6 dB", panned(-6), False),
    ("center", "panned center", "in the middle", panned(0), True),
    ("center", "panned center", "panned by 3 dB", panned(3), False),
    ("wide", "a wide stereo sound", "side at −6 dB", widened(-6), True),
    ("wide", "a wide stereo sound", "side at −20 dB", widened(-20), False),
    ("mono", "in mono", "one channel twice", panned(0), True),
    ("mono", "in mono", "side at −20 dB", widened(-20), False),
    ("silence", "silence", "peak at −70 dBFS", peak_at(-70), True),
    ("silence", "silence", "peak at −50 dBFS", peak_at(-50), False),
    ("sound", "", "peak at −50 dBFS", peak_at(-50), True),
    ("sound", "", "peak at −70 dBFS", peak_at(-70), False),
    ("clipping", "", "untouched", untouched, True),
    ("clipping", "", "peak at 0 dBFS", peak_at(0), True),
    ("clipping", "", "cut off, +1 dB", clipped(1), False),
    ("clipping", "", "cut off, +3 dB", clipped(3), False),
    ("clipping", "", "cut off, +6 dB", clipped(6), False),
    ("start", "", "untouched", untouched, True),
    ("start", "", "faded over 5 ms", faded, True),
    ("start", "", "cut off where it sounds", cut(at_start=True), False),
    ("end", "", "untouched", untouched, True),
    ("end", "", "faded over 5 ms", faded, True),
    ("end", "", "cut off where it sounds", cut(at_start=False), False),
)
"""Control, prompt, what is planted, how, and whether the control should be met."""
LOOP_CHECKS: tuple[tuple[str, str, str, Planted, bool], ...] = (
    ("loop", "a seamless loop", "untouched", untouched, True),
    ("loop", "a seamless loop", "begun elsewhere", turned, True),
    ("loop", "a seamless loop", "cut short", shortened, False),
    ("loop level", "a seamless loop", "untouched", untouched, True),
    ("loop level", "a seamless loop", "begun elsewhere", turned, True),
    ("loop level", "a seamless loop", "begun elsewhere, faded over 5 ms", turned_and_faded, False),
)


def main(
    recordings: Annotated[Path, typer.Option(help="Folder with recordings, unpacked.")],
    count: Annotated[int, typer.Option(min=8, help="Recordings besides the loops.")] = 200,
    seed: int = 1,
) -> None:
    """Prints the table."""
    rng = np.random.default_rng(seed)
    shots, loops = list(one_shots(recordings, count, rng)), list(recorded_loops(recordings))
    print("| control | sounds | n | should be | met | missed | not told |")
    print("|---|---|--:|---|--:|--:|--:|")
    for row in CHECKS:
        print_row(*row, shots, seed)
    for row in LOOP_CHECKS:
        print_row(*row, loops if row[3] is untouched else 4 * loops, seed)
    print_loudness(recordings)


def print_row(
    control: str,
    prompt: str,
    name: str,
    plant: Planted,
    should: bool,
    sounds: list[tuple[Sound, int]],
    seed: int,
) -> None:
    found: list[bool | None] = []
    for number, (sound, rate) in enumerate(sounds):
        planted = plant(sound, rate, np.random.default_rng((seed, number)))
        if planted is not None:
            results = check(prompt, np.asarray(planted, np.float32), rate)
            found += [result.met for result in results if result.control == control]
    shares = (100 * found.count(each) / max(1, len(found)) for each in (True, False, None))
    cells = " | ".join(f"{share:.1f} %" for share in shares)
    wanted = "met" if should else "missed"
    print(f"| {control} | {name} | {len(found)} | {wanted} | {cells} |", flush=True)


def one_shots(folder: Path, count: int, rng: np.random.Generator) -> Iterator[tuple[Sound, int]]:
    """Recordings of 0.1 to 10 seconds above −60 dBFS, drawn alike from each source; none that is called a loop."""
    for pattern in _FILES:
        paths = sorted(p for p in folder.glob(f"**/{pattern}") if "loop" not in p.stem)
        taken = 0
        for index in rng.permutation(len(paths)).tolist():
            sound, rate = _read(paths[index])
            if 0.1 <= sound.shape[1] / rate <= 10 and np.abs(sound).max(initial=0) > 1e-3:
                yield sound, rate
                taken += 1
            if taken == count // len(_FILES):
                break


def recorded_loops(folder: Path) -> Iterator[tuple[Sound, int]]:
    """The loops that are stated to be cut to a number of beats, in formats that keep their length."""
    with STATED.open(newline="") as file:
        for row in csv.DictReader(file):
            for path in sorted(folder.glob(f"**/{row['file']}"))[:1]:
                if row["beats"] and path.suffix != ".mp3":
                    yield _read(path)


def print_loudness(folder: Path) -> None:
    """Prints a row for the loudness of the signals of the EBU, which are within 0.1 LU where the meter is right."""
    found = []
    for name, lufs in _EBU.items():
        for path in sorted(folder.glob(f"**/{name}.flac"))[:1]:
            sound, rate = _read(path)
            meter = LoudnessMeter(rate, sound.shape[0])
            meter.add(np.ascontiguousarray(sound.T))
            found.append(meter.integrated is not None and abs(meter.integrated - lufs) <= 0.1)
    if found:
        cells = f"{100 * np.mean(found):.1f} % | {100 - 100 * np.mean(found):.1f} % | 0.0 %"
        print(f"| loudness | signals of EBU Tech 3341, ±0.1 LU | {len(found)} | met | {cells} |")


def _read(path: Path) -> tuple[Sound, int]:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return sound.T[:2], rate


if __name__ == "__main__":
    typer.run(main)

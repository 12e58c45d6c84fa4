"""The error of each measure of the controls, on sounds whose tempo, key, pitch or number of events is known.

    python -m benchmarks.controls --font FluidR3_GM.sf2 --recordings FOLDER

Prints a table in Markdown, with the field's usual tools in the same run where they are installed. A cell has the shares
in percent: right, an octave off, wrong, not told. Where there is nothing to tell (a texture has no tempo), right is not
told, and a value is wrong. The thresholds of the measures were chosen on the part "tuning" and seed 0.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from auralith.controls.check import TOLERANCES
from auralith.controls.events import events
from auralith.controls.key import key
from auralith.controls.pitch import pitch
from auralith.controls.tempo import tempo
from benchmarks.control_fonts import chorales, composed, played
from benchmarks.control_peers import Tool, tools
from benchmarks.control_recordings import recorded
from benchmarks.control_sounds import CONDITIONS, RATE, Case, Part, synthesized

Verdict = Literal["right", "octave", "wrong", "untold"]
VERDICTS: tuple[Verdict, ...] = ("right", "octave", "wrong", "untold")
OURS = "auralith"
PEER_CONDITIONS = ("clean", "noise, 10 dB", "hall")
"""What the slower tools are measured in."""
MEASURES = {"tempo": tempo, "pitch": pitch, "count": events, "key": key}


def main(
    count: Annotated[int, typer.Option(min=8, help="Cases of each source.")] = 32,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder with recordings and scores, unpacked.")
    ] = None,
    font: Annotated[Path | None, typer.Option(help="SoundFont that fluidsynth plays.")] = None,
    basic_pitch: Annotated[Path | None, typer.Option(help="Wheel of basic-pitch.")] = None,
    peers: Annotated[bool, typer.Option(help="Measure with other tools too.")] = True,
    held_out: Annotated[
        bool, typer.Option(help="Take recordings no threshold was chosen on.")
    ] = True,
    controls: Annotated[str, typer.Option(help="Which, with commas.")] = ",".join(MEASURES),
    seed: int = 1,
) -> None:
    """Prints the table."""
    wanted = controls.split(",")
    part: Part = "held-out" if held_out else "tuning"
    known = [c for c in cases(count, seed, part, recordings, font) if c.control in wanted]
    others = tools(basic_pitch) if peers else {}
    print(f"| measure | sounds | n | tool | median error | {' | '.join(CONDITIONS)} | ms |")
    print(f"|---|---|--:|---|--:|{'---|' * len(CONDITIONS)}--:|")
    for control in wanted:
        of_control = [case for case in known if case.control == control]
        for source in dict.fromkeys(case.source for case in of_control):
            chosen = [case for case in of_control if case.source == source]
            for name, tool in {OURS: _ours(control), **others.get(control, {})}.items():
                print_row(name, chosen, tool, seed)


def cases(
    count: int, seed: int, part: Part, recordings: Path | None, font: Path | None
) -> Iterator[Case]:
    """About `count` cases of each source; those of recordings and of a SoundFont where these are given."""
    yield from synthesized(count, seed)
    if font is not None:
        yield from played(count, np.random.default_rng((seed, 77)), font)
        yield from chorales(count, part, np.random.default_rng((seed, 79)), font)
        if recordings is not None:
            rng = np.random.default_rng((seed, 80))
            yield from composed(count, part, rng, font, recordings)
    if recordings is not None:
        yield from recorded(count, part, np.random.default_rng((seed, 78)), recordings)


def _ours(control: str) -> Tool:
    measure = MEASURES[control]
    return lambda sound: measure(sound[None], RATE).value


def print_row(name: str, chosen: list[Case], tool: Tool, seed: int) -> None:
    cells, errors, spent = [], [], []
    for condition, distort in CONDITIONS.items():
        if name != OURS and condition not in PEER_CONDITIONS:
            cells.append("")
            continue
        verdicts: list[Verdict] = []
        for number, case in enumerate(chosen):
            distorted = distort(case.sound, np.random.default_rng((seed, number)))
            start = time.process_time()
            found = tool(np.asarray(distorted, np.float32))
            spent.append(time.process_time() - start)
            verdicts.append(verdict(case, found))
            if verdicts[-1] == "right" and found is not None and condition == "clean":
                errors.append(error(case, found))
        shares = (round(100 * verdicts.count(each) / len(verdicts)) for each in VERDICTS)
        cells.append(" · ".join(map(str, shares)))
    control, source = chosen[0].control, chosen[0].source
    unit = TOLERANCES[control].unit
    median = f"{np.median(errors):.2g} {unit}" if errors and unit in ("%", "cents") else "–"
    row = (control, source, len(chosen), name, median, *cells, round(1_000 * np.median(spent)))
    print(f"| {' | '.join(map(str, row))} |", flush=True)


def verdict(case: Case, found: Any) -> Verdict:
    """Return what became of a case; a value is right within the tolerance of its control."""
    if found is None or case.truth is None:
        return "right" if found is case.truth else "untold" if found is None else "wrong"
    if case.control in ("key", "count"):
        return "right" if found == case.truth else "wrong"
    octaves = math.log2(found / case.truth)
    if error(case, found) <= TOLERANCES[case.control].limit:
        return "right"
    off = Case(case.control, case.source, case.truth * 2.0 ** round(octaves), case.sound)
    within = abs(round(octaves)) in (1, 2) and error(off, found) <= TOLERANCES[case.control].limit
    return "octave" if within else "wrong"


def error(case: Case, found: Any) -> float:
    """Return the error in the unit of the tolerance: percent of a tempo, cents of a pitch."""
    if case.control == "tempo":
        return 100 * abs(found / case.truth - 1)
    return 1_200 * abs(math.log2(found / case.truth)) if case.control == "pitch" else 0.0


if __name__ == "__main__":
    typer.run(main)

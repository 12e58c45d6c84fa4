"""The error of each measure of the controls, on sounds whose tempo, key, pitch or number of events is known.

    python -m benchmarks.controls --font FluidR3_GM.sf2 --recordings FOLDER

Prints a table in Markdown. A cell has the shares in percent: right, an octave off, wrong, not told. Where there is nothing
to tell (a texture has no tempo), right is not told, and a value is wrong. `control_sounds` says what the sounds are.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from auralith.controls.check import TOLERANCES
from auralith.controls.events import events
from auralith.controls.key import PROFILES, key
from auralith.controls.measurement import Measurement
from auralith.controls.pitch import pitch
from auralith.controls.tempo import tempo
from benchmarks.control_sounds import CONDITIONS, RATE, Case, cases

Verdict = Literal["right", "octave", "wrong", "untold"]
VERDICTS: tuple[Verdict, ...] = ("right", "octave", "wrong", "untold")
MEASURES: dict[str, tuple[str, Callable[..., Measurement]]] = {
    "tempo": ("tempo", tempo),
    "pitch": ("pitch", pitch),
    "count": ("count", events),
    **{f"key ({name})": ("key", partial(key, profile=name)) for name in PROFILES},
}


def main(
    count: Annotated[int, typer.Option(min=8, help="Cases of each source.")] = 32,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder with the packages of recordings, unpacked.")
    ] = None,
    font: Annotated[Path | None, typer.Option(help="SoundFont that fluidsynth plays.")] = None,
    seed: int = 0,
) -> None:
    """Prints the table."""
    known = list(cases(count, seed, recordings, font))
    print(f"| measure | sounds | n | median error | {' | '.join(CONDITIONS)} |")
    print(f"|---|---|--:|--:|{'---|' * len(CONDITIONS)}")
    for name, (control, measure) in MEASURES.items():
        for source in dict.fromkeys(case.source for case in known if case.control == control):
            chosen = [c for c in known if (c.control, c.source) == (control, source)]
            print_row(name, source, chosen, measure, seed)


def print_row(
    name: str, source: str, chosen: list[Case], measure: Callable[..., Measurement], seed: int
) -> None:
    cells, errors = [], []
    for condition, distort in CONDITIONS.items():
        verdicts: list[Verdict] = []
        for number, case in enumerate(chosen):
            sound = distort(case.sound, np.random.default_rng((seed, number)))
            found = measure(np.asarray(sound, np.float32)[None], RATE).value
            verdicts.append(verdict(case, found))
            if verdicts[-1] == "right" and found is not None and condition == "clean":
                errors.append(error(case, found))
        shares = (round(100 * verdicts.count(each) / len(verdicts)) for each in VERDICTS)
        cells.append(" · ".join(map(str, shares)))
    unit = TOLERANCES[chosen[0].control].unit
    median = f"{np.median(errors):.2g} {unit}" if errors and unit in ("%", "cents") else "–"
    print(f"| {name} | {source} | {len(chosen)} | {median} | {' | '.join(cells)} |", flush=True)


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

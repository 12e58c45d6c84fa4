"""The report on generated sounds: verdicts of each test against the null, and the sounds most in need of ears.

memorization.json   everything, with the hash of the protocol
memorization.md     the counts and the nearest training sounds
index.html          the same with players at the aligned places
statistics.png      the distributions of sounds and null
candidates.jsonl    the sounds to listen to, with aligned offsets
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from auralith.data.recording import Recordings
from auralith.escaping import markdown
from auralith.extras import require
from auralith.files import whole_file
from auralith.memorization.duplicates import LANDMARK_P, MEL_CORRELATION
from auralith.memorization.measure import TESTS, MeasuredSound, MeasureSettings, statistic
from auralith.memorization.significance import (
    FDR,
    SetTest,
    StatisticTest,
    Verdicts,
    set_test,
    statistic_test,
    verdicts,
)
from auralith.memorization.training import TrainingSounds
from auralith.metrics.protocol import Protocol
from auralith.pages import template
from auralith.tables.names import find_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC, VERSION = "memorization", 2
CANDIDATES = 50
SET_LEVEL = 0.05
"""p-value of the set up to which it is called nearer than held-out recordings."""
_NAMED = 5
_HIGH = "0.95"
"""Quantile of the null that a sound must reach at least to be flagged, at the default rate of false discoveries."""
_LABELS = {
    "landmarks": "landmarks (−log₁₀ p)",
    "mel": "mel correlation",
    "ratio": "distance ratio (−ρ)",
}


@dataclass(frozen=True)
class Candidate:
    """A sound to listen to beside the training sound that it is nearest to; times align the two."""

    rank: int
    id: str
    path: str
    training_id: str
    training_path: str
    found_by: str
    """Test whose places these are: landmarks, mel or embedding."""
    query_start_s: float
    training_start_s: float
    is_flagged: bool
    p_value: float | None
    """By all tests together; None without a null."""
    p_values: Mapping[str, float]
    """By the names of the tests."""
    statistics: Mapping[str, float | None]
    facts: Mapping[str, str]
    """Title, author, license and URL of the training sound."""


@dataclass(frozen=True)
class Report:
    """Verdicts on a set of sounds; without a null there are none."""

    protocol: Mapping[str, Any]
    protocol_sha256: str
    comparable_sha256: str
    sounds: int
    failed: Mapping[str, str]
    null_sounds: int
    training_sounds: int
    training_failed: int
    repeated_by_embedding: int
    repeated: int
    copied: int
    duplicate_threshold: float
    null_trained: tuple[str, ...]
    """Held-out recordings with the samples of a training sound; they are not in the null."""
    null_repeated: tuple[str, ...]
    """Held-out recordings with the samples of an earlier one; they are not in the null."""
    verdicts: Verdicts | None
    tests: Mapping[str, StatisticTest]
    set_tests: Mapping[str, SetTest]
    """Tests of all sounds together, of which the first of each prompt counts."""
    prompts_known: bool
    flagged: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    @property
    def has_verdicts(self) -> bool:
        return self.verdicts is not None

    @property
    def set_p_value(self) -> float | None:
        """Return the p-value of the set by all tests (Bonferroni); None without a null."""
        least = min((one.p_value for one in self.set_tests.values()), default=None)
        return None if least is None else min(1.0, len(self.set_tests) * least)


def make_report(
    sounds: Recordings,
    found: Sequence[MeasuredSound],
    null: Sequence[MeasuredSound] | None,
    training: TrainingSounds,
    settings: MeasureSettings,
    fdr: float = FDR,
) -> Report:
    """Return the report on sounds that were measured; `null` are held-out recordings that were measured the same way."""
    usable = [one for one in found if not one.failure]
    known, trained, repeated = held_out(null or (), training)
    columns, beside = ({n: _column(some, n) for n in TESTS} for some in (usable, known))
    verdict = verdicts(np.array([*columns.values()]).T, np.array([*beside.values()]).T, fdr)
    tests = {n: statistic_test(columns[n], beside[n]) for n in TESTS if known}
    chosen, prompts_known = _one_of_each_prompt(sounds, usable)
    protocol = _protocol(found, known, training, settings, fdr)
    stored, duplicates = training.store.recordings, training.duplicates
    return Report(
        protocol=protocol.as_json(),
        protocol_sha256=protocol.sha256,
        comparable_sha256=protocol.comparable_sha256,
        sounds=len(found),
        failed={one.id: one.failure for one in found if one.failure},
        null_sounds=len(known),
        training_sounds=len(stored),
        training_failed=sum(bool(one.failure) for one in stored),
        repeated_by_embedding=duplicates.repeated_by_embedding,
        repeated=duplicates.repeated,
        copied=duplicates.copied,
        duplicate_threshold=duplicates.threshold,
        null_trained=trained,
        null_repeated=repeated,
        verdicts=verdict,
        tests=tests,
        set_tests={n: set_test([columns[n][i] for i in chosen], beside[n]) for n in tests},
        prompts_known=prompts_known,
        flagged=tuple(one.id for i, one in enumerate(usable) if verdict and verdict.flagged[i]),
        candidates=_candidates(sounds, usable, verdict, tests, training),
    )


def _protocol(
    found: Sequence[MeasuredSound],
    null: Sequence[MeasuredSound],
    training: TrainingSounds,
    settings: MeasureSettings,
    fdr: float,
) -> Protocol:
    return Protocol(
        METRIC,
        VERSION,
        dict(training.store.protocol),
        tuple(one.id for one in found),
        settings={**asdict(settings), "fdr": fdr, "null": sorted(one.id for one in null)},
        reference_sha256=training.digest,
    )


def held_out(
    null: Sequence[MeasuredSound], training: TrainingSounds
) -> tuple[list[MeasuredSound], tuple[str, ...], tuple[str, ...]]:
    """Return the recordings that make the null, the ids of those that were trained on, and of those that repeat one."""
    seen = {one.pcm_sha256 for one in training.store.recordings if not one.failure}
    known: dict[str, MeasuredSound] = {}
    trained, repeated = [], []
    for one in null:
        if one.failure:
            continue
        if one.pcm_sha256 in seen:
            trained.append(one.id)
        elif known.setdefault(one.pcm_sha256, one) is not one:
            repeated.append(one.id)
    return list(known.values()), tuple(trained), tuple(repeated)


def _one_of_each_prompt(
    sounds: Recordings, found: Sequence[MeasuredSound]
) -> tuple[list[int], bool]:
    """Return the places of the first sound of each prompt, and whether prompts are known; without, all places."""
    prompts: dict[str, str] = {}
    for one in (sounds[i] for i in range(len(sounds))):
        column = find_column(one.metadata, "prompt")
        if prompt := one.prompt or (column and one.metadata[column]):
            prompts[one.id] = prompt
    first: dict[str, int] = {}
    for i, one in enumerate(found):
        first.setdefault(prompts.get(one.id, f"\0{i}"), i)
    return list(first.values()), bool(prompts)


def _column(found: Sequence[MeasuredSound], test: str) -> list[float]:
    return [statistic(one, test) for one in found]


def _candidates(
    sounds: Recordings,
    found: Sequence[MeasuredSound],
    verdict: Verdicts | None,
    tests: Mapping[str, StatisticTest],
    training: TrainingSounds,
) -> tuple[Candidate, ...]:
    """Return the sounds with the least p-values, without a null those with the largest correlation."""
    paths = {sounds[i].id: sounds[i].path for i in range(len(sounds))}
    p_values = [{name: test.p_values[i] for name, test in tests.items()} for i in range(len(found))]

    def rank(i: int) -> tuple[Any, ...]:
        one = found[i]
        mel = one.statistics.get("mel")
        sure = one.landmarks.p_value if one.landmarks else 1.0
        p = verdict.p_values[i] if verdict else 1.0
        return p, sure, -1.0 if mel is None else -mel, one.id

    order = [i for i in sorted(range(len(found)), key=rank) if found[i].neighbors]
    made = []
    for number, i in enumerate(order[:CANDIDATES], 1):
        one = found[i]
        by, id, *times = _alignment(one)
        place = training.place_of[id]
        made.append(
            Candidate(
                *(number, one.id, paths.get(one.id, one.id)),
                *(id, training.recordings[place].path, by, *times),
                is_flagged=bool(verdict and verdict.flagged[i]),
                p_value=verdict.p_values[i] if verdict else None,
                p_values=p_values[i],
                statistics=one.statistics,
                facts=training.facts(id),
            )
        )
    return tuple(made)


def _alignment(one: MeasuredSound) -> tuple[str, str, float, float]:
    """Return what aligns a sound best with which training sound, and where in both."""
    if one.landmarks:
        marks = one.landmarks
        return "landmarks", marks.id, marks.query_start_s, marks.training_start_s
    if one.mel:
        match = one.mel.match
        return "mel", one.mel.id, match.query_start_s, match.reference_start_s
    near = one.neighbors[0]
    return "embedding", near.id, near.query_start_s, near.training_start_s


def write_report(
    report: Report, found: Sequence[MeasuredSound], null: Sequence[MeasuredSound], folder: Path
) -> None:
    """Write all files of the report. Raises `ResourceError` where one can't be written."""
    texts = {
        "memorization.json": json.dumps(
            {
                **asdict(report),
                "set_p_value": report.set_p_value,
                "measured": [asdict(one) for one in found],
            },
            indent=1,
            allow_nan=False,
        ),
        "memorization.md": as_markdown(report),
        "index.html": template("auralith.memorization", "report.html.j2").render(
            report=report, lines=summary(report), link=lambda path, at: _link(path, at, folder)
        ),
        "candidates.jsonl": "".join(json.dumps(asdict(one)) + "\n" for one in report.candidates),
    }
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text.encode())
    left_out = {*report.null_trained, *report.null_repeated}
    with whole_file(folder / "statistics.png") as file:
        draw(found, [one for one in null if one.id not in left_out]).savefig(file, format="png")


def as_markdown(report: Report) -> str:
    """Return counts and candidates as Markdown; what comes from outside shows as what it says."""
    lines = ["# Memorization", "", *(f"- {line}" for line in summary(report)), ""]
    lines += [f"Protocol `{report.protocol_sha256}`", "", "## Nearest training sounds", ""]
    lines += [
        "| rank | sound | training sound | by | author | license | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in report.candidates:
        parts = ", ".join(f"{name} {value:.2g}" for name, value in one.p_values.items())
        p = "no null" if one.p_value is None else f"{one.p_value:.2g} ({parts})"
        cells = (
            one.id,
            one.training_id,
            one.found_by,
            *(one.facts.get(n, "") for n in ("author", "license")),
            p,
        )
        lines.append(f"| {one.rank} | {' | '.join(map(markdown, cells))} |")
    return "\n".join(lines) + "\n"


def summary(report: Report) -> list[str]:
    """Return the counts in words."""
    repeated = (
        f"{report.copied} training sounds are copies of each other; from a cosine of"
        f" {report.duplicate_threshold:.4f} on, embeddings alone call {report.repeated_by_embedding} so, and"
        f" {report.repeated} of those are confirmed"
    )
    lines = [
        f"{report.sounds} sounds, {len(report.failed)} of them could not be compared",
        f"{report.training_sounds} training sounds, {report.training_failed} of them could not be read",
        repeated,
    ]
    lines += _left_out(report)
    if (verdict := report.verdicts) is None:
        return [*lines, "no verdict: there is no null of held-out recordings (--null)"]
    flags = (
        f"{len(report.flagged)} sounds are flagged against {verdict.null_size} held-out recordings, at a false"
        f" discovery rate of {verdict.fdr:g}"
    )
    if verdict.fewest_flagged > 1:
        flags += f"; fewer than {verdict.fewest_flagged} can't be with so few of them: give more"
    lines += [flags, _as_a_set(report)]
    for name, test in report.tests.items():
        quantiles = ", ".join(f"{q}: {value:.3g}" for q, value in test.null_quantiles.items())
        lines.append("; ".join([f"{_LABELS[name]}: null {quantiles}", *_doubts(name, test)]))
    return lines


def _left_out(report: Report) -> Iterator[str]:
    """Yield which held-out recordings are not in the null."""
    for ids, why in (
        (report.null_trained, "have the samples of a training sound"),
        (report.null_repeated, "have the samples of an earlier one"),
    ):
        if ids:
            more = ", …" if len(ids) > _NAMED else ""
            names = ", ".join(ids[:_NAMED])
            yield f"{len(ids)} held-out recordings {why} and are left out of the null: {names}{more}"


def _as_a_set(report: Report) -> str:
    """Return what the tests of all sounds together say."""
    p = report.set_p_value or 0.0
    by, test = min(report.set_tests.items(), key=lambda entry: entry[1].p_value)
    nearer = "are" if p <= SET_LEVEL else "are not significantly"
    independent = (
        "one for each prompt" if report.prompts_known else "taken as independent of each other"
    )
    return (
        f"as a set, the sounds {nearer} nearer to the training sounds than held-out recordings are: p = {p:.2g}"
        f" (Mann and Whitney, {test.sounds} sounds, {independent}); by {by} a sound is nearer in {test.share:.0%} of pairs"
    )


def _doubts(name: str, test: StatisticTest) -> Iterator[str]:
    """Yield why the null may hide copies."""
    if name == "mel" and test.null_quantiles[_HIGH] >= MEL_CORRELATION:
        yield (
            "held-out recordings resemble training sounds as much as copies do, so copies may not be flagged:"
            " give only those of the generated sounds' kind, without single tones and strokes"
        )
    if name == "landmarks" and test.null_quantiles[_HIGH] >= -math.log10(LANDMARK_P):
        yield "a twentieth of the held-out recordings hold the same sound as training sounds: take those out"


def _link(path: str, at_s: float, folder: Path) -> str:
    """Return a relative link to a place in a sound file."""
    relative = os.path.relpath(Path(path).resolve(), folder.resolve()).replace(os.sep, "/")
    return f"{quote(relative)}#t={at_s:.2f}"


def draw(found: Sequence[MeasuredSound], null: Sequence[MeasuredSound]) -> "Figure":
    """Return the distributions of each statistic, of sounds and of the null."""
    figure = require("matplotlib.figure", "train").Figure(
        figsize=(10, 3.2), dpi=120, layout="constrained"
    )
    for axes, name in zip(figure.subplots(1, len(TESTS)), TESTS, strict=True):
        columns = [np.array(_column(one, name)) for one in (found, null)]
        columns = [values[np.isfinite(values)] for values in columns]
        both = np.concatenate(columns)
        bins = np.histogram_bin_edges(both if len(both) else np.zeros(1), 40)
        for values, label in zip(columns, ("sounds", "held out"), strict=True):
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                axes.hist(
                    values, bins, weights=weights, alpha=0.6, label=f"{label} ({len(values)})"
                )
        axes.set_title(_LABELS[name], fontsize=9)
        if len(both):
            axes.legend(fontsize=7)
    return figure

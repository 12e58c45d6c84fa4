"""The report on generated sounds: verdicts of each test against the null, and the sounds most in need of ears.

memorization.json   everything, with the hash of the protocol
memorization.md     the counts and the nearest training sounds
index.html          the same with players at the aligned places
statistics.png      the distributions of sounds and null
candidates.jsonl    the sounds to listen to, with aligned offsets
"""

import json
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
from auralith.memorization.duplicates import MEL_CORRELATION
from auralith.memorization.measure import TESTS, Measured, MeasureSettings
from auralith.memorization.significance import FDR, Verdicts, verdicts
from auralith.memorization.training import TrainingSounds
from auralith.metrics.protocol import Protocol
from auralith.pages import template

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC, VERSION = "memorization", 1
CANDIDATES = 50
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
    flagged_by: tuple[str, ...]
    p_values: Mapping[str, float]
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
    tests: Mapping[str, Verdicts | None]
    flagged: tuple[str, ...]
    """Sounds that a test flags."""
    candidates: tuple[Candidate, ...]

    @property
    def has_verdicts(self) -> bool:
        return self.null_sounds > 0


def make_report(
    sounds: Recordings,
    found: Sequence[Measured],
    null: Sequence[Measured] | None,
    training: TrainingSounds,
    settings: MeasureSettings,
    fdr: float = FDR,
) -> Report:
    """Return the report on sounds that were measured; `null` are held-out recordings that were measured the same way."""
    usable = [one for one in found if not one.failure]
    known = [one for one in null or () if not one.failure]
    tests = {name: verdicts(_column(usable, name), _column(known, name), fdr) for name in TESTS}
    protocol = Protocol(
        METRIC,
        VERSION,
        dict(training.store.protocol),
        tuple(one.id for one in found),
        settings={**asdict(settings), "fdr": fdr, "null": sorted(one.id for one in known)},
        reference_sha256=training.digest,
    )
    flagged_by = {
        one.id: tuple(name for name in TESTS if (t := tests[name]) and t.flagged[i])
        for i, one in enumerate(usable)
    }
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
        tests=tests,
        flagged=tuple(id for id, names in flagged_by.items() if names),
        candidates=_candidates(sounds, usable, tests, flagged_by, training),
    )


def _column(found: Sequence[Measured], test: str) -> list[float]:
    values = (one.statistics.get(test) for one in found)
    return [float("nan") if value is None else value for value in values]


def _candidates(
    sounds: Recordings,
    found: Sequence[Measured],
    tests: Mapping[str, Verdicts | None],
    flagged_by: Mapping[str, tuple[str, ...]],
    training: TrainingSounds,
) -> tuple[Candidate, ...]:
    """Return the sounds with the least p-values, without a null those with the largest correlation."""
    paths = {sounds[i].id: sounds[i].path for i in range(len(sounds))}
    p_values = [
        {name: test.p_values[i] for name, test in tests.items() if test} for i in range(len(found))
    ]

    def rank(i: int) -> tuple[Any, ...]:
        one = found[i]
        mel = one.statistics.get("mel")
        sure = one.landmarks.p_value if one.landmarks else 1.0
        return min(p_values[i].values(), default=1.0), sure, -1.0 if mel is None else -mel, one.id

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
                flagged_by=flagged_by[one.id],
                p_values=p_values[i],
                statistics=one.statistics,
                facts=training.facts(id),
            )
        )
    return tuple(made)


def _alignment(one: Measured) -> tuple[str, str, float, float]:
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
    report: Report, found: Sequence[Measured], null: Sequence[Measured], folder: Path
) -> None:
    """Write all files of the report. Raises `ResourceError` where one can't be written."""
    texts = {
        "memorization.json": json.dumps(
            {**asdict(report), "measured": [asdict(one) for one in found]},
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
    with whole_file(folder / "statistics.png") as file:
        draw(found, null).savefig(file, format="png")


def as_markdown(report: Report) -> str:
    """Return counts and candidates as Markdown; what comes from outside shows as what it says."""
    lines = ["# Memorization", "", *(f"- {line}" for line in summary(report)), ""]
    lines += [f"Protocol `{report.protocol_sha256}`", "", "## Nearest training sounds", ""]
    lines += [
        "| rank | sound | training sound | by | author | license | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in report.candidates:
        p = ", ".join(f"{name} {value:.2g}" for name, value in one.p_values.items()) or "no null"
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
    if not report.has_verdicts:
        return [*lines, "no verdict: there is no null of held-out recordings (--null)"]
    lines.append(
        f"{len(report.flagged)} sounds are flagged against {report.null_sounds} held-out recordings"
    )
    for name, test in report.tests.items():
        if test is None:
            continue
        quantiles = ", ".join(f"{q}: {value:.3g}" for q, value in test.null_quantiles.items())
        line = f"{_LABELS[name]}: {sum(test.flagged)} flagged at a false discovery rate of {test.fdr:g}; null {quantiles}"
        lines.append("; ".join([line, *_limits(name, test)]))
    return lines


def _limits(name: str, test: Verdicts) -> Iterator[str]:
    """Yield why a test that flags nothing says little."""
    if test.fewest_flagged > 1:
        yield (
            f"with {test.null_size} held-out recordings fewer than {test.fewest_flagged} sounds can't be"
            " flagged: give more"
        )
    if name == "mel" and test.null_quantiles[_HIGH] >= MEL_CORRELATION:
        yield (
            "held-out recordings resemble training sounds as much as copies do, so copies may not be flagged:"
            " give only those of the generated sounds' kind, without single tones and strokes"
        )


def _link(path: str, at_s: float, folder: Path) -> str:
    """Return a relative link to a place in a sound file."""
    relative = os.path.relpath(Path(path).resolve(), folder.resolve()).replace(os.sep, "/")
    return f"{quote(relative)}#t={at_s:.2f}"


def draw(found: Sequence[Measured], null: Sequence[Measured]) -> "Figure":
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

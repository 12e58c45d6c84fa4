"""The report of an evaluation: `report.json` for programs, `report.md` for a paper, `report.html` to listen to."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import auralith
from auralith.controls.check import TOLERANCES
from auralith.errors import AudioError
from auralith.escaping import markdown
from auralith.evaluation.comparison import Evaluation, failures
from auralith.evaluation.controls import ControlReport
from auralith.evaluation.measures import Generated, MetricValue
from auralith.evaluation.paper import PaperRow, paper_rows
from auralith.evaluation.pictures import distribution_png, values_png
from auralith.evaluation.prompts import PromptList
from auralith.files import make_folder, utc_now, whole_file
from auralith.metrics.codec import CodecSummary
from auralith.pages import template
from auralith.sound.picture import spectrogram_png
from auralith.sound.reading import read

PICTURES = "pictures"
_PLAIN = re.compile(r"[A-Za-z0-9 .,:%+−↓↑()\[\]-]*")
Section = tuple[str, list[str], list[list[str]]]
"""Title, header and rows of a table."""
NUM_SHOWN = 10
"""Sounds with the best and with the worst values that the page plays."""
LOWER_IS_BETTER = {"fd", "fd-inf", "kad", "kl"}


@dataclass(frozen=True)
class EvaluationReport:
    """All that a report shows."""

    prompts: PromptList | None
    evaluation: Evaluation
    controls: Mapping[str, ControlReport]
    """By system."""
    codec: CodecSummary | None = None
    codec_failed: Mapping[str, str] | None = None

    @property
    def paper(self) -> tuple[PaperRow, ...]:
        if self.prompts is None:
            return ()
        return paper_rows(self.prompts.name, len(self.prompts.prompts))


@dataclass(frozen=True)
class _Example:
    """A sound on the page."""

    id: str
    text: str
    note: str
    """Its value, or what it misses."""
    source: str
    """URL of the sound, relative to the page."""
    picture: str


def report_paths(folder: Path) -> list[Path]:
    """Return the paths of a report's three files."""
    return [folder / f"report.{suffix}" for suffix in ("json", "md", "html")]


def write_report(report: EvaluationReport, folder: Path) -> list[Path]:
    """Write the report's three files and its pictures, each whole, and return the paths of the three.

    Raises:
        ResourceError: a file can't be written.
    """
    make_folder(folder / PICTURES)
    paths = report_paths(folder)
    contents = (
        json.dumps(_as_json(report), indent=1, ensure_ascii=False) + "\n",
        _markdown(report),
        _page(report, folder),
    )
    for path, content in zip(paths, contents, strict=True):
        _write(path, content.encode())
    return paths


def _as_json(report: EvaluationReport) -> dict[str, Any]:
    prompts = report.prompts
    return {
        "created": utc_now(),
        "generator": f"auralith {auralith.__version__}",
        "prompts": prompts and {"name": prompts.name, "count": len(prompts.prompts)},
        **report.evaluation.as_json(),
        "controls": {name: one.as_json() for name, one in report.controls.items()},
        "codec": report.codec and asdict(report.codec) | {"unreadable": report.codec_failed or {}},
        "paper": [asdict(row) for row in report.paper],
    }


def kind_of(measurement: MetricValue) -> str:
    """Return the kind of metric that a measurement is of."""
    return measurement.protocol.metric


def remarks(report: EvaluationReport) -> list[str]:
    """Return a line on each set of metrics whose embedder's weights are not known to be the published ones."""
    metrics: dict[str, dict[str, None]] = {}
    for one in report.evaluation.measurements:
        if one.origin.remark:
            metrics.setdefault(one.origin.remark, {})[one.metric] = None
    return [f"{', '.join(names)}: {remark}" for remark, names in metrics.items()]


def _values(report: EvaluationReport) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the main table: systems, trivial baselines, and what the paper prints."""
    measurements = report.evaluation.measurements
    metrics = list(dict.fromkeys(one.metric for one in measurements))
    arrows = {m.metric: "↓" if kind_of(m) in LOWER_IS_BETTER else "↑" for m in measurements}
    others = {one.metric for one in measurements if one.origin.status == "other"}
    header = ["", *(_column(metric, arrows[metric], metric in others) for metric in metrics)]
    found = {(one.system, one.metric): one for one in measurements}
    rows = [
        [system.name, *(_value(found.get((system.name, metric))) for metric in metrics)]
        for system in report.evaluation.systems
        if metrics
    ]
    baselines = dict.fromkeys(name for one in measurements for name in one.baselines)
    for name in baselines:
        row = [_baseline(measurements, metric, name) for metric in metrics]
        rows.append([f"baseline: {name.replace('_', ' ')}", *row])
    for row in report.paper:
        # values of other networks do not stand beside printed ones
        printed = [None if metric in others else row.value(metric) for metric in metrics]
        if any(value is not None for value in printed):
            cells = ["" if value is None else f"{value:g}" for value in printed]
            rows.append([f"{row.model} (as the paper prints)", *cells])
    return header, rows


def _column(metric: str, arrow: str, other_weights: bool) -> str:
    return f"{metric} {arrow} [other weights]" if other_weights else f"{metric} {arrow}"


def _value(one: MetricValue | None) -> str:
    if one is None:
        return ""
    interval = f" [{one.interval.low:.4g}, {one.interval.high:.4g}]" if one.interval else ""
    return f"{one.value:.4g}{interval}"


def _baseline(measurements: Sequence[MetricValue], metric: str, name: str) -> str:
    for one in measurements:
        if one.metric == metric and name in one.baselines:
            return f"{one.baselines[name]:.4g}"
    return ""


def _counts(report: EvaluationReport) -> tuple[list[str], list[list[str]]]:
    header = [*("system", "metric", "ids", "used", "failed", "frames", "reference frames")]
    header += ["protocol", "comparable"]
    rows = []
    for one in report.evaluation.measurements:
        reasons = ", ".join(f"{count} {reason}" for reason, count in failures(one).items())
        frames = ["" if n is None else f"{n:,}" for n in (one.frames, one.reference_frames)]
        ids = [f"{one.expected:,}", f"{one.used:,}", reasons or "0"]
        hashes = [one.protocol.sha256[:12], one.protocol.comparable_sha256[:12]]
        rows.append([one.system, one.metric, *ids, *frames, *hashes])
    return header, rows


def _comparisons(report: EvaluationReport) -> tuple[list[str], list[list[str]]]:
    header = ["metric", "first − second", "difference", "95 % interval", "ids"]
    rows = [
        [
            one.metric,
            f"{one.first} − {one.second}",
            f"{one.difference:+.4g}{'' if one.is_clear else ' (not clear)'}",
            f"[{one.interval.low:+.4g}, {one.interval.high:+.4g}]",
            f"{one.used:,}",
        ]
        for one in report.evaluation.comparisons
    ]
    return header, rows


def _codec(report: EvaluationReport) -> tuple[list[str], list[list[str]]]:
    if report.codec is None:
        return [], []
    header = ["metric", "mean", "95 % interval", "files", "failed"]
    rows = []
    for name, values in report.codec.metrics.items():
        interval = values.interval
        rows.append(
            [
                name,
                f"{values.mean:.4f}",
                f"[{interval.low:.4f}, {interval.high:.4f}]" if interval else "",
                f"{values.used:,}",
                f"{len(values.failed) + len(report.codec_failed or {}):,}",
            ]
        )
    return header, rows


def _controls(report: EvaluationReport) -> tuple[list[str], list[list[str]]]:
    """Return rates by control and system, without the sounds of which a measure could not tell."""
    header = ["system", "control", "met", "95 % interval", "asked", "octave errors"]
    header += ["could not tell", "median error", "allowed"]
    rows = []
    for system, found in report.controls.items():
        for name, one in found.rates.items():
            limit = TOLERANCES[name]
            interval = "" if one.interval is None else "[{:.0%}, {:.0%}]".format(*one.interval)
            error = "" if one.median_error is None else f"{one.median_error:.3g} {limit.unit}"
            counts = [f"{one.asked:,}", f"{one.octaves:,}", f"{one.unknown:,}"]
            met = "" if one.rate is None else f"{one.rate:.0%}"
            allowed = f"{limit.limit:g} {limit.unit}".strip()
            rows.append([system, name, met, interval, *counts, error, allowed])
    return header, rows


_SECTIONS = (
    ("Values", _values),
    ("Ids, frames, protocols", _counts),
    ("Differences between systems", _comparisons),
    ("Autoencoder", _codec),
    ("Does the sound do what the prompt says?", _controls),
)


def sections(report: EvaluationReport) -> list[Section]:
    """Return the tables of a report that have rows."""
    found = [(title, *make(report)) for title, make in _SECTIONS]
    return [(title, header, rows) for title, header, rows in found if rows]


def _markdown(report: EvaluationReport) -> str:
    lines = [f"# Evaluation{_on(report)}", ""]
    for remark in remarks(report):
        lines += [f"**{markdown(remark)}.**", ""]
    for title, header, rows in sections(report):
        lines += [f"## {title}", "", _row(header), f"|{'---|' * len(header)}"]
        lines += [*map(_row, rows), ""]
    return "\n".join(lines)


def _on(report: EvaluationReport) -> str:
    if report.prompts is None:
        return ""
    return f" on {markdown(report.prompts.name)}, {len(report.prompts.prompts):,} prompts"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell if _is_plain(cell) else markdown(cell) for cell in cells)} |"


def _is_plain(cell: str) -> bool:
    """Return whether Markdown shows a cell of a table as it is."""
    return _PLAIN.fullmatch(cell) is not None and "](" not in cell


def _page(report: EvaluationReport, folder: Path) -> str:
    systems = {one.name: one for one in report.evaluation.systems}
    pictures, examples = [], []
    for plane in report.evaluation.planes:
        name = _picture_name("plane", plane.metric, plane.system)
        _write(folder / PICTURES / name, distribution_png(plane))
        pictures.append((f"{plane.metric}, {plane.system}", f"{PICTURES}/{name}"))
    for one in report.evaluation.measurements:
        if not one.by_id:
            continue
        name = _picture_name("values", one.metric, one.system)
        _write(folder / PICTURES / name, values_png(one))
        pictures.append((f"{one.metric}, {one.system}, by id", f"{PICTURES}/{name}"))
        best, worst = _extremes(one)
        for title, ids in (("best", best), ("worst", worst)):
            shown = [
                _example(systems[one.system], id, f"{one.by_id[id]:.4g}", folder) for id in ids
            ]
            examples.append((f"{one.metric}, {one.system}: {title}", shown))
    for name, found in report.controls.items():
        missed = _missed(found)
        shown = [_example(systems[name], id, note, folder) for id, note in missed.items()]
        examples.append((f"controls, {name}: missed", shown))
    return template("auralith.evaluation", "report.html.j2").render(
        title=f"Evaluation on {report.prompts.name}" if report.prompts else "Evaluation",
        remarks=remarks(report),
        sections=sections(report),
        pictures=pictures,
        examples=[(title, shown) for title, shown in examples if shown],
    )


def _extremes(one: MetricValue) -> tuple[list[str], list[str]]:
    ordered = sorted(one.by_id, key=lambda id: one.by_id[id])
    if kind_of(one) not in LOWER_IS_BETTER:
        ordered.reverse()
    shown = min(NUM_SHOWN, len(ordered))
    return ordered[:shown], ordered[::-1][: min(shown, len(ordered) - shown)]


def _missed(found: ControlReport) -> dict[str, str]:
    """Return what sounds miss, by id: those that miss most first."""
    misses = {
        id: [
            f"{one.control}: {one.asked} asked, {one.measured} measured"
            for one in results
            if one.met is False
        ]
        for id, results in found.results.items()
    }
    worst = sorted(misses, key=lambda id: -len(misses[id]))[:NUM_SHOWN]
    return {id: "; ".join(misses[id]) for id in worst if misses[id]}


def _example(system: Generated, id: str, note: str, folder: Path) -> _Example:
    path = system.sounds.paths[id]
    picture = folder / PICTURES / _picture_name("sound", str(path))
    if not picture.exists():
        _write(picture, _spectrogram(path))
    source = quote(Path(os.path.relpath(path, folder)).as_posix())
    return _Example(id, system.texts.get(id, ""), note, source, f"{PICTURES}/{picture.name}")


def _spectrogram(path: Path) -> bytes:
    try:
        waveform, sample_rate = read(path)
    except AudioError:  # it was measured, so the file has changed since
        return b""
    return spectrogram_png(waveform, sample_rate)


def _picture_name(*parts: str) -> str:
    """Return a name of letters and digits, whatever stands in the parts."""
    return f"{parts[0]}-{sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.png"


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)

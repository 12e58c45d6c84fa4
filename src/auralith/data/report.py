"""The look at every recording before training: what can be used, what can't and why, and whether to start at all.

Threads read the headers; with `decode` they decode all sound too, which finds NaN, silence, and files that are damaged
or cut short behind a good header. Nothing is dropped silently: each bad recording is named with its reason.
"""

import json
import math
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auralith.data.crops import AudioOptions
from auralith.data.prompts import PromptOptions, prompt_of, usable_fields
from auralith.data.recording import Recording, Recordings
from auralith.errors import AuralithError, InvalidRequest
from auralith.files import whole_file
from auralith.sound.extent import SoundInfo
from auralith.sound.levels import peak_db

MAX_BAD_FRACTION = 0.05
"""Above this share of unusable recordings something is wrong with the dataset, and training doesn't start."""
_AHEAD = 64
"""Recordings handed to the threads at a time, so that a scan that is given up ends soon."""


@dataclass(frozen=True)
class DatasetReport:
    """Result of a scan. `check` says whether training may start; `write` keeps it as JSON."""

    total: int
    usable: tuple[int, ...]
    """Positions of the usable recordings, in order."""
    bad: tuple[tuple[str, str], ...]
    """Path and reason of the others."""
    seconds: float
    """Usable sound in all."""
    sample_rates: dict[int, int]
    """Number of usable recordings by rate."""
    channels: dict[int, int]
    distinct_prompts: int | None
    """Different prompts, or sets of metadata to make them of; None if prompts were not looked at."""
    notes: tuple[tuple[str, str], ...] = ()
    """Path of each usable recording whose header states another length than there is, and what it says."""

    def check(self, batch_size: int, *, equal_prompts: bool = False) -> None:
        """Refuse to train on what can't teach; `equal_prompts` allows one prompt for everything.

        Raises:
            InvalidRequest: nothing is usable, more than 5 % is bad, there is less than a batch, or all prompts are
                equal.
        """
        first = f", the first: {self.bad[0][1]}" if self.bad else ""
        if not self.usable:
            raise InvalidRequest(f"none of the {self.total} recordings can be used{first}")
        if len(self.bad) > MAX_BAD_FRACTION * self.total:
            raise InvalidRequest(
                f"{len(self.bad)} of {self.total} recordings can't be used,"
                f" {MAX_BAD_FRACTION:.0%} at most may be bad{first}"
            )
        if len(self.usable) < batch_size:
            raise InvalidRequest(
                f"{len(self.usable)} usable recordings are fewer than a batch of {batch_size};"
                " add recordings or make the batch smaller"
            )
        if self.distinct_prompts == 1 and len(self.usable) > 1 and not equal_prompts:
            raise InvalidRequest(
                f"all {len(self.usable)} prompts are equal, so that none would mean anything;"
                " say what is heard in each recording"
            )

    def write(self, path: str | Path) -> None:
        """The report as JSON; raises `ResourceError` where it can't be written."""
        report = {
            "recordings": self.total,
            "usable": len(self.usable),
            "seconds": round(self.seconds, 3),
            "sample_rates": self.sample_rates,
            "channels": self.channels,
            "distinct_prompts": self.distinct_prompts,
            "bad": [{"path": path, "reason": reason} for path, reason in self.bad],
            "notes": [{"path": path, "note": note} for path, note in self.notes],
        }
        with whole_file(path) as file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")


@dataclass(frozen=True)
class ScanProgress:
    """After each recording; the last one brings the report."""

    done: int
    total: int
    report: DatasetReport | None = None


def scan_steps(
    recordings: Recordings,
    options: AudioOptions,
    prompts: PromptOptions | None,
    *,
    decode: bool = False,
    threads: int = 8,
) -> Generator[ScanProgress]:
    """Look at every recording: header, rate, channels, and the prompt unless `prompts` is None.

    The report doesn't depend on the number of threads.
    """
    total = len(recordings)
    findings: list[_Finding] = []
    with ThreadPoolExecutor(threads, "scan") as pool:
        for start in range(0, total, _AHEAD):
            positions = range(start, min(start + _AHEAD, total))
            for finding in pool.map(
                lambda i: _look(recordings, i, options, prompts, decode), positions
            ):
                findings.append(finding)
                if len(findings) < total:
                    yield ScanProgress(len(findings), total)
    yield ScanProgress(total, total, _report(findings, prompts is not None))


def scan(
    recordings: Recordings,
    options: AudioOptions,
    prompts: PromptOptions | None,
    *,
    decode: bool = False,
    threads: int = 8,
) -> DatasetReport:
    """The report at the end of `scan_steps`."""
    *_, last = scan_steps(recordings, options, prompts, decode=decode, threads=threads)
    assert last.report is not None
    return last.report


@dataclass(frozen=True)
class _Finding:
    path: str
    info: SoundInfo | None
    says: tuple[str, ...] = ()
    """Texts that its prompts are made of."""
    reason: str = ""


def _look(
    recordings: Recordings,
    i: int,
    options: AudioOptions,
    prompts: PromptOptions | None,
    decode: bool,
) -> _Finding:
    recording = recordings[i]
    try:
        says = () if prompts is None else _says(recording, prompts)
        info = recordings.info(i)
        options.check(info, recording.path)
        if decode:
            _listen(recordings, i, options)
    except AuralithError as error:
        return _Finding(recording.path, None, reason=str(error))
    return _Finding(recording.path, info, says)


def _says(recording: Recording, prompts: PromptOptions) -> tuple[str, ...]:
    prompt_of(recording, prompts, np.random.default_rng(0))
    return recording.prompts or tuple(usable_fields(recording.metadata, prompts).values())


def _listen(recordings: Recordings, i: int, options: AudioOptions) -> None:
    waveform, _ = recordings.read(i)
    if (peak := peak_db(waveform)) < options.silence_db:
        raise InvalidRequest(
            f"{recordings[i].path} is silent: its peak is {peak:.0f} dBFS,"
            f" {options.silence_db:.0f} is needed; leave it out"
        )


def _report(findings: list[_Finding], prompts: bool) -> DatasetReport:
    infos = [finding.info for finding in findings if finding.info]
    return DatasetReport(
        total=len(findings),
        usable=tuple(i for i, finding in enumerate(findings) if finding.info),
        bad=tuple((finding.path, finding.reason) for finding in findings if not finding.info),
        seconds=math.fsum(info.seconds for info in infos),
        sample_rates=dict(Counter(info.sample_rate for info in infos)),
        channels=dict(Counter(info.channels for info in infos)),
        distinct_prompts=len({f.says for f in findings if f.info}) if prompts else None,
        notes=tuple((f.path, f.info.note) for f in findings if f.info and f.info.note),
    )

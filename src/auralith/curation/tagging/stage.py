"""The tagging step: flag music by the rule of the model card, and keep the figures for every other rule.

A recording is flagged "music" when music is active for 30 s at 0.15 or more, by default. The class set, the rule for counting seconds and the
treatment of stereo are not published, so each is a setting. The columns keep the seconds at 19 thresholds and the order
statistic q3000, so that another threshold or another number of seconds is only a query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from auralith.curation.probe import sound_path
from auralith.curation.stage import Finding, Row
from auralith.curation.tagging.meter import (
    ClassSet,
    MusicMeter,
    MusicTime,
    Stereo,
    Tagger,
    windows,
)
from auralith.errors import AudioError
from auralith.numbers import check_number
from auralith.sound.stream import SoundStream, open_sound

Rule = Literal["cumulative", "per_class", "longest_run", "clipwise"]
"""Measure of seconds: of any class in total; of one class in total; without a gap; of windows with any music."""
SHORT_SECONDS, SHORT_SHARE = 3.0, 0.8
"""Least duration and least share of music of the recordings that `flag_short` flags."""


OWN_THRESHOLDS: Mapping[str, float] = {"panns": 0.15, "ast": 0.15, "musicnn": 0.3}
"""Thresholds by tagger: for musicnn what `auralith curate calibrate` gives on music that its head was not fitted on."""


@dataclass(frozen=True)
class TaggingSettings:
    """Settings of the rule. They include which weights are used, but not where the file lies or on which device."""

    tagger: Literal["panns", "ast", "musicnn"] = "panns"
    weights_sha256: str | None = None
    """Required SHA-256 of the weights; any known file if left out."""
    allow_unknown_weights: bool = False
    """Trust weights of an unknown hash; from then on this curation takes no others."""
    class_set: ClassSet = "subtree"
    threshold: float | None = None
    """Probability from which music is heard; the tagger's own if left out: 0.15 of panns and ast, 0.3 of musicnn."""
    min_seconds: float = 30.0
    rule: Rule = "cumulative"
    stereo: Stereo = "mean"
    flag_short: bool = False
    """Also flag recordings from 3 s up to `min_seconds` if 80 % is music ("music_short")."""

    def __post_init__(self) -> None:
        check_number(self, "threshold", above=0.0, below=1.0)
        check_number(self, "min_seconds", "s", above=0.0)

    @property
    def heard_from(self) -> float:
        """Return the threshold: the one that was given, or the tagger's own."""
        return OWN_THRESHOLDS[self.tagger] if self.threshold is None else self.threshold

    def complete(self) -> "TaggingSettings":
        """Return the settings with their threshold filled in, as evidence records them."""
        return replace(self, threshold=self.heard_from)


class Tagging:
    """The stage: music is flagged for identification, everything else passes."""

    name = "tag"
    provider_version = "1"
    inputs: tuple[str, ...] = ("path",)

    def __init__(
        self,
        settings: TaggingSettings = TaggingSettings(),
        weights: Path | None = None,
        device: str = "auto",
        *,
        tagger: Tagger | None = None,
    ) -> None:
        """Set up the tagger: `weights` are its file or folder, the usual ones if left out; `tagger` replaces it, in tests."""
        self.settings = settings.complete()
        self._tagger = _make_tagger(settings, weights, device) if tagger is None else tagger
        self._classes = self._tagger.facts.classes(settings.class_set)
        self.provider = self._tagger.facts.name

    @property
    def schema(self) -> pa.Schema:
        return tag_schema()

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each recording. Raises `CheckpointError` if the weights are missing or unknown."""
        same = {
            "tagger": self._tagger.facts.name,
            "weights_sha256": self._tagger.weights_sha256(),
            "class_set": self.settings.class_set,
        }
        return [self._finding(row, root, same) for row in rows]

    def _finding(self, row: Row, root: Path, same: Mapping[str, str]) -> Finding:
        if not row["path"]:
            return Finding("skipped", "quarantine", "no_path", columns=same)
        try:
            with open_sound(sound_path(root, row["path"])) as stream:
                time = self._measure(stream)
        except AudioError as error:
            return Finding("error", "quarantine", error.reason_code, columns=same)
        reason = self._reason(time)
        score = _seconds_by(self.settings.rule, time)
        columns = {**same, **_columns(time)}
        return Finding("ok", "flag" if reason else "pass", reason, score, columns)

    def _measure(self, stream: SoundStream) -> MusicTime:
        facts, settings = self._tagger.facts, self.settings
        meter = MusicMeter(facts, self._classes, settings.heard_from, settings.min_seconds)
        for window in windows(stream, facts.sample_rate, facts.window_samples, settings.stereo):
            channels = [self._probabilities(channel) for channel in window.channels]
            meter.add(np.max(channels, axis=0)[: -(-window.num_samples // facts.hop_samples)])
        return meter.result

    def _probabilities(self, channel: np.ndarray) -> np.ndarray:
        probabilities = self._tagger.framewise(channel)
        facts = self._tagger.facts
        assert probabilities.shape == (facts.frames_per_window, facts.num_labels)
        if not ((probabilities >= 0) & (probabilities <= 1)).all():  # NaN must not count as silence
            raise AudioError("the tagger's answer is not between 0 and 1", "not_a_probability")
        return probabilities

    def _reason(self, time: MusicTime) -> str | None:
        settings = self.settings
        if _seconds_by(settings.rule, time) >= settings.min_seconds:
            return "music"
        short = SHORT_SECONDS <= time.seconds < settings.min_seconds
        if settings.flag_short and short and time.cumulative >= SHORT_SHARE * time.seconds:
            return "music_short"
        return None


def _make_tagger(settings: TaggingSettings, weights: Path | None, device: str) -> Tagger:
    from auralith.curation.tagging.taggers import TAGGERS  # torch

    return TAGGERS[settings.tagger](
        weights,
        sha256=settings.weights_sha256,
        allow_unknown=settings.allow_unknown_weights,
        device=device,
    )


def pinned(
    settings: TaggingSettings, weights: Path | None, folder: Path | None = None
) -> TaggingSettings:
    """Return the settings with the hash of the given weights, so that evidence records which weights made it.

    An unknown file that is allowed once in the curation `folder` is the only one accepted there from then on.

    Raises:
        CheckpointError: the weights are missing, or not the required ones.
        InvalidRequest: the required hash is malformed.
    """
    from auralith.curation.tagging.taggers import check_hash, check_pin  # torch

    tagger = _make_tagger(settings, weights, "cpu")
    digest, must_be_known = tagger.weights_sha256(), tagger.facts.needs_known_weights
    allowed = settings.allow_unknown_weights
    if must_be_known and not settings.weights_sha256 and folder is not None:
        check_pin(folder, weights, digest, allowed)
    elif must_be_known or settings.weights_sha256:
        check_hash(str(weights), digest, settings.weights_sha256, allowed)
    return replace(settings, weights_sha256=digest, allow_unknown_weights=False)


def tag_schema() -> pa.Schema:
    """Return the stage's own columns. `seconds` is the duration in whole frames; q3000 is the 3,000th-largest frame if
    `min_seconds` is 30 and frames last 10 ms, and otherwise that of as many frames as `min_seconds` has."""
    top = pa.struct([("index", pa.int32()), ("seconds", pa.float64())])
    return pa.schema(
        [
            ("tagger", pa.string()),
            ("weights_sha256", pa.string()),
            ("class_set", pa.string()),
            ("seconds", pa.float64()),
            ("music_seconds", pa.list_(pa.float64())),
            ("q3000", pa.float64()),
            ("longest_run_s", pa.float64()),
            ("clipwise_s", pa.float64()),
            ("top_classes", pa.list_(top)),
            ("clipwise_max", pa.float64()),
        ]
    )


def _columns(time: MusicTime) -> dict[str, Any]:
    return {
        "seconds": time.seconds,
        "music_seconds": list(time.by_threshold),
        "q3000": time.order_statistic,
        "longest_run_s": time.longest_run,
        "clipwise_s": time.clipwise,
        "top_classes": [{"index": i, "seconds": seconds} for i, seconds in time.top_classes],
        "clipwise_max": time.peak,
    }


def _seconds_by(rule: Rule, time: MusicTime) -> float:
    match rule:
        case "cumulative":
            return time.cumulative
        case "per_class":
            return time.per_class
        case "longest_run":
            return time.longest_run
        case "clipwise":
            return time.clipwise

"""Tempo, key, pitch and number of events by the field's usual tools, as far as they are installed.

librosa and essentia from PyPI; the network of basic-pitch out of its wheel, which onnxruntime runs without that package.
Each function takes one channel at `RATE` and returns a value, or None where the tool has none to give.
"""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from auralith.controls.notes import Key, pitch_class
from auralith.controls.pitch import HIGHEST_HZ, LOWEST_HZ
from benchmarks.control_sounds import RATE
from benchmarks.identification_sounds import Mono
from recipes.embedded.evaluation.notes import HOP, BasicPitch

Tool = Callable[[Mono], Any]
_RATE = 22_050
"""What librosa and basic-pitch are used at by default."""
_LEAST_VOICED = 0.1


def tools(wheel: Path | None) -> dict[str, dict[str, Tool]]:
    """The tools of each control by name; `wheel` is that of basic-pitch."""
    found: dict[str, dict[str, Tool]] = {"tempo": {}, "key": {}, "pitch": {}, "count": {}}
    if importlib.util.find_spec("librosa"):
        found["tempo"] |= {"librosa tempo": _librosa_tempo, "librosa beat_track": _librosa_beats}
        found["pitch"]["librosa pyin"] = _librosa_pyin
        found["count"]["librosa onset_detect"] = _librosa_onsets
    if importlib.util.find_spec("essentia"):
        found["tempo"] |= {
            "essentia RhythmExtractor2013": _essentia_rhythm,
            "essentia Percival": _essentia_percival,
            "essentia LoopBpmEstimator": _essentia_loop,
        }
        found["key"] |= {
            "essentia KeyExtractor, bgate": _essentia_key("bgate"),
            "essentia KeyExtractor, temperley": _essentia_key("temperley"),
            "essentia KeyExtractor, edma": _essentia_key("edma"),
        }
        found["pitch"]["essentia PitchYinFFT"] = _essentia_yin
        found["count"]["essentia OnsetRate"] = _essentia_onsets
    if wheel is not None and importlib.util.find_spec("onnxruntime"):
        network = _BasicPitch(wheel)
        found["pitch"]["basic-pitch"] = network.pitch
        found["count"]["basic-pitch"] = network.count
    return found


def _librosa() -> Any:
    return importlib.import_module("librosa")


def _essentia() -> Any:
    return importlib.import_module("essentia.standard")


def _halved(sound: Mono) -> Mono:
    return soxr.resample(sound, RATE, _RATE)


def _librosa_tempo(sound: Mono) -> float:
    return float(_librosa().feature.tempo(y=_halved(sound), sr=_RATE)[0])


def _librosa_beats(sound: Mono) -> float | None:
    return (
        float(np.atleast_1d(_librosa().beat.beat_track(y=_halved(sound), sr=_RATE)[0])[0]) or None
    )


def _librosa_pyin(sound: Mono) -> float | None:
    hz, voiced, _ = _librosa().pyin(
        _halved(sound), fmin=27.5, fmax=4_186, sr=_RATE, frame_length=4_096
    )
    return float(np.median(hz[voiced])) if voiced.mean() > _LEAST_VOICED else None


def _librosa_onsets(sound: Mono) -> int:
    return len(_librosa().onset.onset_detect(y=_halved(sound), sr=_RATE))


def _essentia_rhythm(sound: Mono) -> float | None:
    return float(_essentia().RhythmExtractor2013(method="multifeature")(sound)[0]) or None


def _essentia_percival(sound: Mono) -> float | None:
    return float(_essentia().PercivalBpmEstimator()(sound)) or None


def _essentia_loop(sound: Mono) -> float | None:
    return float(_essentia().LoopBpmEstimator()(sound)) or None


def _essentia_key(profile: str) -> Tool:
    def measure(sound: Mono) -> Key:
        name, scale, _ = _essentia().KeyExtractor(profileType=profile)(sound)
        return Key(pitch_class(name[0], name[1:]), scale)

    return measure


def _essentia_yin(sound: Mono) -> float | None:
    """The median over frames whose confidence is above 0.5."""
    size = 4_096
    yin, window = _essentia().PitchYinFFT(frameSize=size), _essentia().Windowing(type="hann")
    spectrum, found = _essentia().Spectrum(size=size), []
    for frame in _essentia().FrameGenerator(sound, frameSize=size, hopSize=1_024):
        hz, confidence = yin(spectrum(window(frame)))
        if confidence > 0.5 and LOWEST_HZ <= hz <= HIGHEST_HZ:
            found.append(hz)
    return float(np.median(found)) if found else None


def _essentia_onsets(sound: Mono) -> int:
    return len(_essentia().OnsetRate()(sound)[0])


class _BasicPitch:
    """Network of basic-pitch: activations of 88 notes, of their onsets, and of 264 thirds of semitones per frame."""

    def __init__(self, wheel: Path) -> None:
        self._network = BasicPitch(wheel)

    def _activations(self, sound: Mono, output: int) -> np.ndarray:
        frames = self._network.activations(_halved(sound), output)
        return frames[: 1 + len(sound) * _RATE // (RATE * HOP)]

    def pitch(self, sound: Mono) -> float | None:
        """Frequency of the strongest third of a semitone within the strongest note, by a parabola."""
        notes = self._activations(sound, 1).mean(axis=0)
        contour = self._activations(sound, 0).mean(axis=0)
        if notes.max() < 0.05:
            return None
        first = max(1, 3 * int(notes.argmax()) - 1)
        best = first + int(contour[first : first + 5].argmax())
        best = min(best, len(contour) - 2)
        left, top, right = contour[best - 1 : best + 2]
        bend = left - 2 * top + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return float(27.5 * 2 ** ((best + np.clip(shift, -0.5, 0.5) - 1) / 36))

    def count(self, sound: Mono) -> int:
        """Peaks of any note's onset above 0.5 that are 90 ms apart."""
        strength = self._activations(sound, 2).max(axis=1)
        padded = np.pad(strength, 1)
        peaks = np.flatnonzero(
            (strength > 0.5) & (strength > padded[:-2]) & (strength >= padded[2:])
        )
        return int(1 + (np.diff(peaks) > 8).sum()) if len(peaks) else 0

"""Notes that basic-pitch hears (Bittner et al. 2022, Apache-2.0): its network out of its wheel, run in onnxruntime.

pip download --no-deps basic-pitch && pip install onnxruntime
"""

import importlib
import zipfile
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float

from auralith.errors import InvalidRequest
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo

MODEL = "basic_pitch/saved_models/icassp_2022/nmp.onnx"
RATE = 22_050
LOWEST_KEY = 21
"""MIDI number of the first of its 88 notes."""
HEARD = 0.3
"""Activation in its loudest frames from which a note counts as heard."""
HOP = 256
_WINDOW, _OVERLAP = 43_844, 30


class BasicPitch:
    """The network; it takes 22,050 samples a second in windows of two."""

    def __init__(self, wheel: Path) -> None:
        """Open the network in a wheel. Raises InvalidRequest if it is not there, or onnxruntime is not."""
        try:
            runtime = importlib.import_module("onnxruntime")
            with zipfile.ZipFile(wheel) as archive:
                self._session = runtime.InferenceSession(archive.read(MODEL))
        except ImportError as error:
            raise InvalidRequest("onnxruntime is not installed; pip install onnxruntime") from error
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidRequest(
                f"{wheel} is no wheel of basic-pitch; pip download --no-deps basic-pitch"
            ) from error

    def activations(
        self, mono: Float[np.ndarray, " sample"], output: int
    ) -> Float[np.ndarray, "frame value"]:
        """Return an output for each frame of 11.6 ms, from 0 to 1, and for frames of silence behind the sound.

        Output 0 has 264 thirds of semitones, 1 the 88 notes, 2 their onsets.
        """
        trim, step = _OVERLAP // 2, _WINDOW - _OVERLAP * HOP
        padded = np.pad(mono, (trim * HOP, _WINDOW))
        starts = range(0, max(1, len(padded) - _WINDOW + 1), step)
        windows = np.stack([padded[start : start + _WINDOW] for start in starts])[..., None]
        name = f"StatefulPartitionedCall:{output}"
        (found,) = self._session.run([name], {"serving_default_input_2:0": windows})
        return np.concatenate(list(np.asarray(found)[:, trim:-trim]))


class Listener:
    """Ear for notes and chords, by the network of basic-pitch."""

    def __init__(self, wheel: Path) -> None:
        """Open the network in a wheel. Raises as `BasicPitch` does."""
        self._network = BasicPitch(wheel)

    def activations(self, waveform: Stereo) -> Float[np.ndarray, "frame key"]:
        """Return how strongly each of 88 notes sounds in each frame of 11.6 ms, from 0 to 1."""
        mono = soxr.resample(waveform.mean(axis=0).astype(np.float32), SAMPLE_RATE, RATE)
        peak = max(float(np.abs(mono).max()), 1e-9)
        return self._network.activations(mono / peak, 1)[: 1 + len(mono) // HOP]

    def key(self, waveform: Stereo) -> int:
        """Return the MIDI number of the note that sounds most."""
        return LOWEST_KEY + int(self.activations(waveform).mean(axis=0).argmax())

    def pitch_classes(self, waveform: Stereo) -> frozenset[int]:
        """Return the pitch classes of all notes that sound, 0 for C."""
        return heard_classes(self.activations(waveform))


def heard_classes(activations: Float[np.ndarray, "frame key"]) -> frozenset[int]:
    """Return the pitch classes of the keys whose loudest tenth of frames reaches `HEARD`."""
    loudest = np.quantile(activations, 0.9, axis=0)
    return frozenset(int((LOWEST_KEY + key) % 12) for key in np.flatnonzero(loudest >= HEARD))

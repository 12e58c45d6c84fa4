"""Previews of a sound that is still made: the beginning of what the model expects it to be, decoded on the way.

Decoding takes a good part of a run, so previews take a share of it that is measured, and are as long as that allows. They
draw no random numbers and change nothing: the sound is the same with and without them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auralith.files import make_folder
from auralith.jobs.books import remove
from auralith.jobs.records import Unknown
from auralith.jobs.tasks import Json
from auralith.sound.levels import peak_normalize
from auralith.stages import settle, stage

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from auralith.pipeline import Auralith
    from auralith.samplers import Step

SHARE = 0.1
"""Most of a run's time that its previews take."""
BUSY_SHARE = 0.03
"""The same while other jobs wait."""
PLACES = (0.1, 0.35, 0.65)
"""Parts of the steps after which there is one."""
LEAST_SECONDS = 1.0
"""Length below which a preview takes the time of those that would follow; shorter than half of it there is none."""
LEAST_WAIT_SECONDS = 0.5
"""Whoever waits no longer for the steps and the decoding needs no preview."""


class PreviewFolder:
    """The previews of jobs that run, as files of a folder."""

    def __init__(self, folder: Path, is_left: Callable[[Path], bool]) -> None:
        """Make the folder, and remove what a process that died has left there, which `is_left` tells."""
        self.path = folder
        make_folder(folder)
        remove(path for path in folder.iterdir() if is_left(path))

    def file(self, job: str, number: int) -> Path:
        """Return the place of a preview. Raise `Unknown` where there is none."""
        path = preview_path(self.path, job, number)
        if not path.is_file():
            raise Unknown("there is no preview of this number; they go when another job has ended")
        return path

    def drop(self, job: str) -> None:
        """Remove the previews of a job."""
        remove(self.path.glob(f"{job}-*.wav"))


def preview_path(folder: Path, job: str, number: int) -> Path:
    """Return the place of a preview in the folder of previews."""
    return folder / f"{job}-{number}.wav"


@dataclass
class DecodingSpeed:
    """Seconds that a model's decoder takes for a frame, as they were measured last."""

    seconds_per_frame: float | None = None


Send = Callable[[Json, "Float[Tensor, 'channel sample']", int], None]
"""Gets what is said of a preview, its samples and their rate in Hz."""


class Previews:
    """The previews of one sound. `on_step` is to be called after each of its steps."""

    def __init__(
        self,
        model: "Auralith",
        num_frames: int | None,
        share: float,
        speed: DecodingSpeed,
        send: Send,
    ) -> None:
        """`num_frames` is the length of the sound where that is known, since a model may make more than is asked for."""
        self._model, self._num_frames, self._share = model, num_frames, share
        self._speed, self._send = speed, send
        self._begin, self._spent = 0.0, 0.0
        self._places: list[float] = []

    def on_step(self, step: "Step") -> None:
        """Make a preview if it is time for one, and the run is long enough to pay for it."""
        if step.index == 0:  # it has the loading of kernels in it: the pace is that of the others
            settle(self._model.device)
            self._begin, self._spent, self._places = time.perf_counter(), 0.0, list(PLACES)
            return
        if step.total is None or not self._places or not self._is_time(step.index + 1, step.total):
            return
        settle(self._model.device)
        pace = (time.perf_counter() - self._begin - self._spent) / step.index
        if frames := self._affordable(step, pace * step.total):
            self._make(step, frames)

    def _is_time(self, done: int, total: int) -> bool:
        passed = [place for place in self._places if done >= place * total]
        self._places = self._places[len(passed) :]
        return bool(passed) and done < total

    def _affordable(self, step: "Step", run: float) -> int:
        """Return how many frames there is time for, in a run whose steps take so many seconds; 0 for too few, or if the
        sound is there soon.
        """
        audio = self._model.config.audio
        available = min(step.denoised.shape[-1], self._num_frames or step.denoised.shape[-1])
        least = min(available, audio.num_frames(round(LEAST_SECONDS * audio.sample_rate)))
        pace = self._speed.seconds_per_frame
        if pace is None:  # the first decoding also loads its kernels
            return max(1, least // 2)
        wait = run + pace * available
        if wait < LEAST_WAIT_SECONDS:
            return 0
        room = int((self._share * wait - self._spent) / pace)
        frames = max(room // (len(self._places) + 1), min(room, least))
        return min(frames, available) if 2 * frames >= least else 0

    def _make(self, step: "Step", frames: int) -> None:
        begin = time.perf_counter()
        with stage("previews", self._model.device), torch.inference_mode():
            waveform = self._model.codec.decode(step.denoised[:1, :, :frames])[0].float().cpu()
            mono = peak_normalize(waveform.mean(dim=0, keepdim=True))
            self._speed.seconds_per_frame = (time.perf_counter() - begin) / frames
            rate = self._model.config.audio.sample_rate
            said = {"step": step.index + 1, "of": step.total, "seconds": mono.shape[1] / rate}
            self._send(said, mono, rate)
        self._spent += time.perf_counter() - begin

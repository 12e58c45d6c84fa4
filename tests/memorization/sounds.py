"""Sounds for the tests of memorization: melodies as waveforms, and lists of recordings in memory."""

from collections.abc import Mapping

import torch
from torch import Tensor

from auralith.data.recording import Recording
from auralith.errors import AudioError
from auralith.sound.extent import SoundInfo
from tests.fingerprint import melodies
from tests.fingerprint.melodies import SAMPLE_RATE as RATE


def melody(seconds: float, seed: int) -> Tensor:
    """Return a melody at `RATE` as (1, sample)."""
    return torch.from_numpy(melodies.melody(seed, seconds))[None]


class Memory:
    """Recordings in memory; None can't be read. Counts how often each is read."""

    def __init__(self, sounds: Mapping[str, Tensor | None], rate: int = RATE) -> None:
        self.ids, self.sounds, self.rate = list(sounds), sounds, rate
        self.reads: list[str] = []

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Recording:
        author = {"author": f"author of {self.ids[i]}", "license": "CC0-1.0"}
        return Recording(self.ids[i], f"/sounds/{self.ids[i]}", (), author)

    def info(self, i: int) -> SoundInfo:
        return SoundInfo(self._waveform(i).shape[1], self.rate, 1)

    def read(self, i: int, start: int = 0, stop: int | None = None) -> tuple[Tensor, int]:
        self.reads.append(self.ids[i])
        return self._waveform(i)[:, start:stop], self.rate

    def seconds(self, i: int) -> float:
        return self.info(i).seconds

    def _waveform(self, i: int) -> Tensor:
        waveform = self.sounds[self.ids[i]]
        if waveform is None:
            raise AudioError(f"{self.ids[i]} can't be read", "not_audio")
        return waveform

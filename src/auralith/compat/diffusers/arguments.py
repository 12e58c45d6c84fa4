"""A call's numbers and generators: checked, every refusal a ValueError as in diffusers.

Seconds may be given per prompt (defect B4). `Extents` is the only place that knows what they mean: the start conditions
the model and never slices, and a recording may be longer than what is made of it (defect B3).

Random numbers come in diffusers' order: normals from a generator or from one per item, a Brownian path from their seeds.
Without a generator they come from torch's global one, as programs that call `torch.manual_seed` expect. All draws are
float32: diffusers draws in the model's dtype, where half precision is another stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from auralith.errors import InvalidRequest, shown
from auralith.noise import BrownianTree, NoiseSource
from auralith.numbers import real_number, whole_number
from auralith.sound.arrays import check_axes

Seconds = float | Sequence[float]
Prompt = str | list[str]
Embeds = Float[Tensor, "batch token dim"]
Mask = Integer[Tensor, "batch token"] | Bool[Tensor, "batch token"]
InitialAudio = Float[Tensor, "batch sample"] | Float[Tensor, "batch channel sample"]


@dataclass(frozen=True)
class Extents:
    """Place of each prompt's sound in its recording, in seconds; one entry stands for all prompts."""

    starts: tuple[float, ...]
    ends: tuple[float, ...]
    totals: tuple[float, ...]

    @no_type_check  # values come from people: `_numbers` is for any type
    @staticmethod
    def of(start: Seconds, end: Seconds | None, total: Seconds | None, longest: float) -> "Extents":
        """Numbers or lists; the end is `longest` if None, the recording's length the end if None.

        Raises InvalidRequest for anything but numbers, for lists of different lengths, and above `longest`.
        """
        starts = _numbers("audio_start_in_s", start)
        ends = _numbers("audio_end_in_s", longest if end is None else end)
        totals = ends if total is None else _numbers("audio_total_in_s", total)
        count = max(len(starts), len(ends), len(totals))
        if any(len(values) not in (1, count) for values in (starts, ends, totals)):
            raise InvalidRequest(
                "lists of seconds differ in length; give one value, or one per prompt"
            )
        wide = (values * (count // len(values)) for values in (starts, ends, totals))
        extents = Extents(*wide)
        for first, last in zip(extents.starts, extents.ends, strict=True):
            if last - first > longest:
                raise InvalidRequest(
                    f"audio_end_in_s - audio_start_in_s is {last - first:g} s; this model makes at most {longest:g} s "
                    "at once: for a part of a longer recording set audio_total_in_s to its length"
                )
        return extents

    def check(self, least: float, most: float) -> None:
        """Raise InvalidRequest for an end before its start, and outside what the model was conditioned on."""
        for start, end, total in zip(self.starts, self.ends, self.totals, strict=True):
            if end < start:
                raise InvalidRequest(
                    f"audio_end_in_s is {end:g} s; it must not be below audio_start_in_s, {start:g} s"
                )
            for name, value in (("start", start), ("end", end), ("total", total)):
                if not least <= value <= most:
                    raise InvalidRequest(
                        f"audio_{name}_in_s is {value:g} s; it must be from {least:g} to {most:g}"
                    )
            if total < end:
                raise InvalidRequest(
                    f"audio_total_in_s is {total:g} s; it must not be below audio_end_in_s, {end:g} s"
                )

    def per_prompt(self, batch: int) -> "Extents":
        """One entry per prompt. Raises InvalidRequest if there are others than one or `batch`."""
        if len(self.starts) not in (1, batch):
            raise InvalidRequest(
                f"there are {len(self.starts)} values of seconds for {batch} prompts; give one, or one per prompt"
            )
        copies = batch // len(self.starts)
        return Extents(self.starts * copies, self.ends * copies, self.totals * copies)

    def num_samples(self, sample_rate: int) -> list[int]:
        """Samples of each sound, truncated as diffusers truncates."""
        pairs = zip(self.starts, self.ends, strict=True)
        return [int(end * sample_rate) - int(start * sample_rate) for start, end in pairs]


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(one, str) for one in values):
        values = ()  # diffusers subtracts them, so text fails there
    try:
        found = tuple(real_number(name, one) for one in values)
    except InvalidRequest:
        found = ()
    if not found:
        raise InvalidRequest(
            f"{name} is {shown(value)}; give seconds, or a list with one per prompt"
        )
    return found


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise InvalidRequest unless it is one of the choices."""
    if value not in choices:
        raise InvalidRequest(f"{name} is {value!r}; choose {' or '.join(map(repr, choices))}")


def check_initial_audio(
    waveforms: Tensor | None, sampling_rate: object, expected_rate: int
) -> None:
    """Raise InvalidRequest unless initial audio comes with the model's sample rate (defect B8: which one that is)."""
    if waveforms is not None:
        check_axes("initial_audio_waveforms", waveforms)
    if waveforms is not None and sampling_rate is None:
        raise InvalidRequest(
            f"initial_audio_waveforms need their initial_audio_sampling_rate, {expected_rate}"
        )
    if sampling_rate is not None and (
        whole_number("initial_audio_sampling_rate", sampling_rate) != expected_rate
    ):
        raise InvalidRequest(
            f"initial_audio_sampling_rate is {sampling_rate}; resample the waveforms to {expected_rate}"
        )


Generators = torch.Generator | list[torch.Generator] | None


def check_generators(generator: Generators, batch: int) -> None:
    """Raise InvalidRequest unless a list holds one generator per waveform."""
    if isinstance(generator, list) and len(generator) != batch:
        raise InvalidRequest(
            f"there are {len(generator)} generators for {batch} waveforms; give one, or a list of {batch}"
        )


def normal(
    generator: Generators, shape: Sequence[int], device: torch.device
) -> Float[Tensor, "batch channel frame"]:
    """Unit normals, drawn where the generator lives and moved to `device`; item i from generator i of a list."""
    if isinstance(generator, list):
        items = [normal(one, (1, *shape[1:]), device) for one in generator]
        return torch.cat(items)
    source = device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, device=source).to(device)


def path_noise(
    generator: Generators,
    shape: Sequence[int],
    bounds: tuple[float, float],
    device: torch.device,
) -> NoiseSource:
    """The noise of the SDE's steps: one Brownian path for the batch, or one per generator of a list."""
    batch, channels, frames = shape
    if not isinstance(generator, list):
        return BrownianTree(_entropy(generator), (batch, channels, frames), *bounds, device)
    paths = [BrownianTree(_entropy(g), (1, channels, frames), *bounds, device) for g in generator]
    return lambda level, next_level: torch.cat([path(level, next_level) for path in paths])


def _entropy(generator: torch.Generator | None) -> int:
    """The generator's initial seed, however much was drawn from it since."""
    if generator is None:
        return int(torch.randint(0, 2**63 - 1, ()))
    return generator.initial_seed()

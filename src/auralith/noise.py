"""Random numbers: one stream per item, and the two orders of drawing that a generation can follow.

`ItemStreams` is the default. The k-th draw of an item is a function of its seed, k and the frame, so an item is the
same alone, at any place in any batch, on any device, and a shorter window gets the beginning of a longer one's noise.
`ReferenceNoise` repeats what stable-audio-tools draws after `torch.manual_seed(seed)`, without touching the global
generator; its SDE samplers follow a `BrownianTree`, the bridge of torchsde written anew. Samplers ask a `NoiseSource`
for a unit normal per step and know nothing of the above. All draws are float32: half precision is another stream.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest

NoiseSource = Callable[[float, float], Float[Tensor, "batch channel frame"]]
"""(level, next level) of a step to its unit normal noise."""
StepNoise = Literal["none", "independent", "brownian"]
"""Noise that a sampler asks for at each step: nothing, unrelated normals, or increments of one Brownian path."""

MAX_SEED = 2**63 - 1
TIME_DIGITS = 6
"""Brownian times are rounded to this many decimals, as torchsde does; it is part of the numbers."""


@runtime_checkable
class NoiseStream(Protocol):
    """All random numbers of one generation."""

    def initial(self) -> Float[Tensor, "batch channel frame"]:
        """The unit normal the generation starts from, the first draw whenever it is asked for."""
        ...

    def for_steps(self, levels: Sequence[float], kind: StepNoise) -> NoiseSource:
        """The source of a sampler that walks down `levels`; ask for it after everything else was drawn."""
        ...


def check_seed(seed: int) -> int:
    """The seed itself; raises `InvalidRequest` outside 0 to 2^63 - 1."""
    if not 0 <= seed <= MAX_SEED:
        raise InvalidRequest(f"seed is {seed}; choose an integer from 0 to {MAX_SEED} (2^63 - 1)")
    return seed


class ItemStreams:
    """One independent stream per item, drawn on the CPU and moved to `device`; `shape` is (channel, frame)."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> None:
        self._seeds = [check_seed(seed) for seed in seeds]
        self._shape = shape
        self._device = torch.device(device)
        self._step = 0

    def initial(self) -> Float[Tensor, "batch channel frame"]:
        return self._draw(0)

    def for_steps(self, levels: Sequence[float], kind: StepNoise) -> NoiseSource:
        """The same for every kind: the steps of a path are disjoint, so its increments are independent normals."""
        return self

    def __call__(self, level: float, next_level: float) -> Float[Tensor, "batch channel frame"]:
        self._step += 1
        return self._draw(self._step)

    def _draw(self, index: int) -> Float[Tensor, "batch channel frame"]:
        items = [_item_normal(seed, index, self._shape) for seed in self._seeds]
        return torch.stack(items).to(self._device)


class ReferenceNoise:
    """The draws of stable-audio-tools for one seed and the whole batch; `shape` is (batch, channel, frame).

    Its order is: the initial noise (drawn on construction), the autoencoder's draw if there is init audio (pass
    `generator` or `draw` to it), then one normal per step, or the entropy of the Brownian tree from the CPU generator;
    at last what an autoencoder draws that adds noise in decoding.
    """

    def __init__(
        self,
        seed: int,
        shape: tuple[int, int, int],
        device: torch.device | str = "cpu",
    ) -> None:
        self._shape = shape
        self.generator = torch.Generator(device).manual_seed(check_seed(seed))
        on_cpu = self.generator.device.type == "cpu"
        self._cpu = self.generator if on_cpu else torch.Generator().manual_seed(seed)
        self._initial = self.draw(shape)

    def initial(self) -> Float[Tensor, "batch channel frame"]:
        return self._initial

    def for_steps(self, levels: Sequence[float], kind: StepNoise) -> NoiseSource:
        if kind != "brownian":
            return lambda level, next_level: self.draw(self._shape)
        entropy = int(torch.randint(0, 2**63 - 1, (), generator=self._cpu))
        times = [level for level in levels if level > 0]
        return BrownianTree(entropy, self._shape, min(times), max(times), self.generator.device)

    def draw(self, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
        """Return the next numbers of the stream, for what the autoencoder draws."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)


class BrownianTree:
    """A Brownian path over [start, end] (noise levels), refined by halving; a `NoiseSource` (torchsde 0.2.6).

    Every node of the tree owns the seed of its bridge point, so the path does not depend on which times are asked for.
    Times outside the bounds are clamped to them. Memory is one tensor beyond those of a single descent, as W at the end
    of a step is kept for the next.
    """

    def __init__(
        self,
        entropy: int,
        shape: tuple[int, int, int],
        start: float,
        end: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self._entropy = entropy
        self._shape = shape
        self._device = torch.device(device)
        self._start, self._end = round(start, TIME_DIGITS), round(end, TIME_DIGITS)
        root = self._normal(np.random.SeedSequence(entropy, pool_size=24))
        self._total = root * math.sqrt(end - start)
        self._latest = (self._end, self._total)

    def __call__(self, level: float, next_level: float) -> Float[Tensor, "batch channel frame"]:
        """Unit normal of the step; the sign is the reference's."""
        increment = self._value(next_level) - self._value(level)
        return increment / math.sqrt(abs(level - next_level))

    def _value(self, level: float) -> Float[Tensor, "batch channel frame"]:
        """W(level), with W = 0 at the start."""
        time = min(max(round(level, TIME_DIGITS), self._start), self._end)
        known_time, known = self._latest
        if time != known_time:
            known = self._descend(time)
            self._latest = (time, known)
        return known

    def _descend(self, time: float) -> Float[Tensor, "batch channel frame"]:
        left, right, increment = self._start, self._end, self._total
        if time == right:
            return increment
        value = torch.zeros_like(increment)
        key, depth = 0, 0
        while time != left:
            middle = round((left + right) / 2, TIME_DIGITS)
            first = self._bridge(left, middle, right, increment, key, depth)
            if time < middle:
                right, increment, key = middle, first, 2 * key
            else:
                value = value + first
                left, increment, key = middle, increment - first, 2 * key + 1
            depth += 1
        return value

    def _bridge(
        self, left: float, middle: float, right: float, increment: Tensor, key: int, depth: int
    ) -> Float[Tensor, "batch channel frame"]:
        """The increment over [left, middle], given the one over [left, right]."""
        child = np.random.SeedSequence(self._entropy, spawn_key=(key, depth), pool_size=24)
        width = right - left
        std = math.sqrt((middle - left) * (right - middle) / width)
        return increment * ((middle - left) / width) + std * self._normal(child)

    def _normal(self, seed: np.random.SeedSequence) -> Float[Tensor, "batch channel frame"]:
        generator = torch.Generator(self._device).manual_seed(int(seed.generate_state(1)[0]))
        return torch.randn(self._shape, generator=generator, device=self._device)


def _item_normal(seed: int, index: int, shape: tuple[int, int]) -> Float[Tensor, "channel frame"]:
    """Draw `index` of the stream `seed`.

    Drawn frame by frame, and in whole groups of 16 because torch fills normals in such groups: so the first frames do
    not depend on how many follow. The seed is hashed since a torch CPU generator looks at its low 32 bits only.
    """
    channels, frames = shape
    word = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(word))
    count = 16 * math.ceil(channels * frames / 16)
    return torch.randn(count, generator=generator)[: channels * frames].view(frames, channels).T

"""Random numbers in diffusers' order: normals from a generator or from one per item, a Brownian path from their seeds.

Without a generator the numbers come from torch's global one, as programs that call `torch.manual_seed` expect. All
draws are float32: diffusers draws in the model's dtype, where half precision is another stream.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.noise import BrownianTree, NoiseSource

Generators = torch.Generator | list[torch.Generator] | None


def check_generators(generator: Generators, batch: int) -> None:
    """Raise InvalidRequest if a list has not one generator per waveform."""
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

"""What number and timestep features keep when the model around them is cast."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from auralith.config import NumberCondition
from auralith.models.dit import FourierFeatures
from auralith.models.embedders import Fourier, NumberEmbedder

CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "to": lambda module: module.to(torch.bfloat16),
    "half": lambda module: module.half(),
    "bfloat16": lambda module: module.bfloat16(),
    "double": lambda module: module.double(),
    "there and back": lambda module: module.half().float(),
    "tensor": lambda module: module.to(torch.zeros(1, dtype=torch.float16)),
}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS.keys())
@pytest.mark.parametrize("trained", [False, True])
def test_frequencies_stay_exact_inside_a_cast_model(
    cast: Callable[[nn.Module], nn.Module], trained: bool
) -> None:
    condition = NumberCondition("tempo", 40.0, 240.0)
    embedder = NumberEmbedder(condition, 4)
    model = nn.Sequential(FourierFeatures(8), nn.ModuleDict({"tempo": embedder}))
    found = [module for module in model.modules() if isinstance(module, Fourier)]
    before = [module.frequencies.detach().clone() for module in found]
    if trained:
        for module in found:
            module.frequencies.grad = torch.rand_like(module.frequencies)
    plain = cast(nn.Linear(2, 2)).weight.dtype
    cast(model)
    assert len(found) == 2
    for module, values in zip(found, before, strict=True):
        assert module.frequencies.dtype == torch.float32
        assert torch.equal(module.frequencies, values)
        gradient = module.frequencies.grad
        assert gradient is None or gradient.dtype == torch.float32
    assert embedder.linear.weight.dtype == plain


def test_frequencies_can_leave_the_meta_device() -> None:
    with torch.device("meta"):
        features = FourierFeatures(8)
    features.to(torch.float16).to_empty(device="cpu")
    assert features.frequencies.device.type == "cpu"
    assert features.frequencies.dtype == torch.float32

"""Winograd's convolution is the convolution, at every size of picture."""

import pytest
import torch
from torch.nn.functional import conv2d

from auralith.embedders.winograd import WinogradConvolution


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 3), (8, 13), (32, 24)])
@pytest.mark.parametrize("channels", [(1, 1), (3, 5), (128, 16)])
def test_it_is_a_convolution_but_for_rounding(
    size: tuple[int, int], channels: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels[0], *size, generator=generator)
    weight = torch.randn(channels[1], channels[0], 3, 3, generator=generator)
    bias = torch.randn(channels[1], generator=generator)
    exact = conv2d(x.double(), weight.double(), bias.double(), padding=1)
    # how large the sums are of which a result is what is left
    scale = conv2d(x.double().abs(), weight.double().abs(), bias.double().abs(), padding=1)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = WinogradConvolution(weight, bias)(x.contiguous(memory_format=layout))
        assert found.shape == exact.shape
        assert float((found - exact).abs().max()) < 1e-5 * float(scale.max())

"""Tensors that are not in memory yet.

Names, shapes and number formats are known from a file's header or from a network on the meta device; values are read
when they are needed. Changes of layout are written on `Weights`, so that validating, loading, converting and counting
parameters share one path.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes; where torch's own CPU memory begins."""


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not in memory yet. `read` makes a private copy; `mapped` a view of the file, where possible."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]
    mapped: Callable[[], Tensor] | None = None

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.numel * self.dtype.itemsize

    @staticmethod
    def of(tensor: Tensor) -> "LazyTensor":
        """A tensor that is in memory already."""
        detached = tensor.detach()
        return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda: detached, lambda: detached)

    def reshaped(self, shape: tuple[int, ...]) -> "LazyTensor":
        mapped = self.mapped
        view = None if mapped is None else lambda: mapped().reshape(shape)
        return LazyTensor(shape, self.dtype, lambda: self.read().reshape(shape), view)

    def load(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the values on `device`, at an aligned address: mapped from the file if nothing has to change.

        MKL multiplies a few rows in another order of summation when a matrix does not begin at a multiple of 16 bytes
        (it asks for 64), so a tensor that begins elsewhere in its file is copied: the same weights give the same bits
        from every file and layout.
        """
        if self.mapped is not None and device.type == "cpu" and dtype == self.dtype:
            values = self.mapped()
            if is_aligned(values):
                return values
        values = self.read().to(device=device, dtype=dtype)
        return values if is_aligned(values) else values.clone()


def is_aligned(values: Tensor) -> bool:
    """Return whether the values begin where torch would put them, always the case on an accelerator."""
    return values.device.type != "cpu" or values.data_ptr() % ALIGNMENT == 0


Weights = dict[str, LazyTensor]
"""Tensors by name."""


def weights_of(state: Mapping[str, Tensor]) -> Weights:
    """Return the tensors of a state dict as `Weights`."""
    return {name: LazyTensor.of(tensor) for name, tensor in state.items()}

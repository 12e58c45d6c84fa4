"""Tensors that are not in memory yet.

Names, shapes and number formats are known from a file's header or from a network on the meta device; values are read
when they are needed. Changes of layout are written on `Weights`, so that validating, loading, converting and counting
parameters share one path.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from auralith.errors import CheckpointError

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
ALIGNMENT = 64
"""Bytes; where torch's own CPU memory begins."""


@contextmanager
def meta_device() -> Iterator[None]:
    """Build networks on the meta device within the block, without the random values that they would be filled with."""
    with torch.device("meta"), _NoRandomValues():
        yield


_FILLS = frozenset(
    [Tensor.normal_, Tensor.uniform_]
    + [getattr(init, name) for name in dir(init) if name.endswith("_") and name[0] != "_"]
)


class _NoRandomValues(TorchFunctionMode):
    """Leaves tensors as they are: for the meta device torch imports its compiler to fill nothing, which takes seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in _FILLS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not in memory yet. `read` makes a private copy; `mapped` a view of the file, where possible.

    A matrix that is stored in int8 reads as the floats that it stands for; `codes` are what is stored.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]
    mapped: Callable[[], Tensor] | None = None
    codes: "LazyCodes | None" = None

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

    def kept(self) -> "LazyTensor":
        """Return the tensor as it is now, whatever comes to lie at its file's path until it is read.

        It is copied now if it can't be mapped.
        """
        mapped = self.mapped
        if mapped is None:
            return LazyTensor.of(self.read())
        return replace(self, read=lambda: mapped().clone())

    def reshaped(self, shape: tuple[int, ...]) -> "LazyTensor":
        mapped = self.mapped
        view = None if mapped is None else lambda: mapped().reshape(shape)
        return LazyTensor(shape, self.dtype, lambda: self.read().reshape(shape), view)

    def cast(self, dtype: torch.dtype) -> "LazyTensor":
        """Return the tensor in another number format."""
        return LazyTensor(self.shape, dtype, lambda: self.read().to(dtype))

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


class LazyCodes(NamedTuple):
    """A matrix in int8 that is not in memory yet: its codes, and the scale of each row."""

    codes: LazyTensor
    scale: LazyTensor


def is_aligned(values: Tensor) -> bool:
    """Return whether the values begin where torch would put them, always the case on an accelerator."""
    return values.device.type != "cpu" or values.data_ptr() % ALIGNMENT == 0


Weights = dict[str, LazyTensor]
"""Tensors by name."""


def weights_of(state: Mapping[str, Tensor]) -> Weights:
    """Return the tensors of a state dict as `Weights`."""
    return {name: LazyTensor.of(tensor) for name, tensor in state.items()}


def require_tensors(
    found: Weights,
    expected: Weights,
    where: object,
    may_be_missing: Callable[[str], bool] = lambda name: False,
    *,
    fits: str = "its config",
    remedy: str = "use the config that belongs to it",
) -> None:
    """Raise a CheckpointError that names the first missing, unexpected and misshapen tensor.

    `where` names the file, `fits` what its tensors should be of.
    """
    kinds = {
        "missing": [n for n in expected if n not in found and not may_be_missing(n)],
        "unexpected": [n for n in found if n not in expected],
        "of another shape": [n for n in found if n in expected and not _fits(n, found, expected)],
    }
    problems = [
        f"{len(n)} {kind} (first {_described(n[0], found, expected)})"
        for kind, n in kinds.items()
        if n
    ]
    if problems:
        raise CheckpointError(
            f"{where} does not fit {fits}: {'; '.join(problems)} of {len(expected)} tensors; {remedy}"
        )
    for name, tensor in found.items():
        if tensor.dtype not in FLOATING:
            raise CheckpointError(f"{where}: tensor {name!r} is {tensor.dtype}, not floating point")


def _fits(name: str, found: Weights, expected: Weights) -> bool:
    return found[name].shape == expected[name].shape


def _described(name: str, found: Weights, expected: Weights) -> str:
    if name not in found or name not in expected:
        return repr(name[:120])
    shapes = ("×".join(map(str, weights[name].shape)) or "1" for weights in (found, expected))
    return "{!r}: {}, expected {}".format(name, *shapes)

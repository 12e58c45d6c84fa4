"""The rounding of float32, measured for one computation: what any machine may make of it, and no more.

Instruction sets, numbers of threads and shapes change the order in which products are added up. How far that moves a
result depends on the computation: where large values cancel it is a thousand times more than where they don't. So a
tolerance is measured. The computation runs in float64, and runs there again with every value moved at random by as much
as float32 rounds (Monte Carlo arithmetic: Parker, Monte Carlo Arithmetic, UCLA CSD-970002, 1997, section 3).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

UNIT = 2.0**-24
"""Half the distance of float32 numbers around 1."""
DRAWS = 3
MARGIN = 16
"""A sum of k terms in sequence rounds about √(k/2) times as far as one operation; kernels keep 4 to 64 partial sums."""
DECODED = 1e-5
"""An autoencoder's output relative to its peak, and"""
RUN = 1e-4
"""a whole run: about MARGIN times the rounding of the tiny models, which test_rounding measures."""
WIDER = {torch.float32: torch.float64, torch.complex64: torch.complex128}
Results = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


class InFloat64(TorchDispatchMode):
    """Compute in float64 what asks for float32; with a generator, round at random after every operation."""

    def __init__(self, rounding: torch.Generator | None = None) -> None:
        super().__init__()
        self.rounding = rounding

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_view(func):
            return func(*args, **kwargs)
        if not ("rand" in str(func) or "normal" in str(func)):  # draw the numbers of float32
            args, kwargs = tree_map(_widened, args), tree_map(_widened, kwargs)
        made = tree_map(_widened, func(*args, **kwargs))
        if self.rounding is not None:
            tree_map(self._round, made)
        return made

    def _round(self, value: Any) -> None:
        if isinstance(value, Tensor) and value.is_floating_point():
            value.mul_(torch.empty_like(value).normal_(1.0, UNIT, generator=self.rounding))


def _widened(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return WIDER.get(value, value)
    narrow = isinstance(value, Tensor) and value.dtype in WIDER
    return value.to(WIDER[value.dtype]) if narrow else value


def _is_view(func: Any) -> bool:
    aliases = (made.alias_info for made in func._schema.returns)
    return any(alias is not None and not alias.is_write for alias in aliases)


def in_float64(compute: Callable[[], Results]) -> dict[str, Tensor]:
    """Return the results of `compute` as float64 gives them, by name or index."""
    with InFloat64():
        return _named(compute())


def rounding_errors(compute: Callable[[], Results], exact: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest distance from `exact` that rounding in float32 is expected to bring to each result."""
    largest = dict.fromkeys(exact, 0.0)
    for seed in range(DRAWS):
        with InFloat64(torch.Generator().manual_seed(seed)):
            rounded = _named(compute())
        for name, value in rounded.items():
            largest[name] = max(largest[name], float((value - exact[name]).abs().max()))
    return largest


def assert_rounding_only(
    found: Results, compute: Callable[[], Results], margin: float = MARGIN
) -> None:
    """Assert that results in float32 differ from `compute` in float64 by `margin` times its rounding at most."""
    exact = in_float64(compute)
    errors = rounding_errors(compute, exact)
    named = _named(found)
    assert named.keys() == exact.keys()
    for name, value in named.items():
        error = float((value.double() - exact[name]).abs().max())
        assert error <= margin * errors[name], (
            f"{name} is {error:.2e} from the exact result, beyond {margin} times its rounding "
            f"of {errors[name]:.2e}"
        )


def _named(results: Results) -> dict[str, Tensor]:
    if isinstance(results, Tensor):
        results = [results]
    pairs = results.items() if isinstance(results, Mapping) else enumerate(results)
    return {str(name): value.detach() for name, value in pairs}

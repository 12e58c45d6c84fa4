"""The exponential moving average of the trained weights, which is what a run exports.

Its decay rises with the number of updates k as min(limit, 1 − (1+k)^(−3/4)), as in the published training. It lies
beside the weights or, to save memory on a GPU, on the CPU.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    def __init__(self, network: nn.Module, limit: float, *, on_cpu: bool) -> None:
        self.limit, self.on_cpu = limit, on_cpu
        self.trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.values = {name: self._copy(p) for name, p in self.trained.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move towards the present weights, after the step with this number (from 0)."""
        decay = min(self.limit, 1 - (1 + num_updates) ** -0.75)
        update = get_ema_multi_avg_fn(decay)
        averages = list(self.values.values())
        current: list[Tensor] = [
            p.detach().cpu() if self.on_cpu else p.detach() for p in self.trained.values()
        ]
        update(averages, current, torch.tensor(num_updates))

    @torch.no_grad()
    def reset(self) -> None:
        """Start over from the present weights."""
        for name, parameter in self.trained.items():
            self.values[name].copy_(parameter)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights."""
        present = {name: p.detach().clone() for name, p in self.trained.items()}
        try:
            self._assign(self.values)
            yield
        finally:
            self._assign(present)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    def _copy(self, parameter: nn.Parameter) -> Tensor:
        copy = parameter.detach().clone()
        return copy.cpu() if self.on_cpu else copy

"""Networks that have no weights until they first compute, such as an autoencoder's encoder in a model that generates.

Until then their tensors are on the meta device: whoever walks the parameters of a network must expect that. `state_dict`
reads them first.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

Read = Callable[[], Mapping[str, Tensor]]


def defer(network: nn.Module, read: Read) -> None:
    """Let a network on the meta device read its whole state when it is first called, or asked for its `state_dict`."""
    lock = Lock()

    # what is given is the network itself, or a copy of it that was made while it had no weights
    def fill(filled: nn.Module, *_: Any) -> None:
        with lock, torch.inference_mode(False):
            if is_deferred(filled):
                filled.load_state_dict(read(), strict=True, assign=True)

    network.register_forward_pre_hook(fill)
    network.register_state_dict_pre_hook(fill)


def is_deferred(network: nn.Module) -> bool:
    """Return whether a network has no weights yet."""
    return any(parameter.is_meta for parameter in network.parameters())

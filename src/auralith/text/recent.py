"""The states of the prompts that were asked for lately, so that a prompt that comes again is not encoded again."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from auralith.text.encoder import TextEncoder, TextStates

MOST_BYTES = 32 * 2**20
"""Most bytes of states that are kept; those of a prompt take 0.4 MB at 128 tokens of T5-base."""


class RecentStates:
    """States of the last batches of prompts, with the text encoder that made them.

    A batch is kept as a whole, since rounding depends on who shares it. All are dropped as soon as anything about the
    encoder has changed: its place, number format or weights, also in place. Copies and pickles of it are empty.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[object, ...], TextStates] = OrderedDict()
        self._maker: tuple[object, ...] = ()

    def __reduce__(self) -> "tuple[type[RecentStates], tuple[int]]":
        return RecentStates, (self.most_bytes,)

    def encode(self, text: TextEncoder, prompts: Sequence[str], max_tokens: int) -> TextStates:
        """Return what `TextEncoder.encode` does, from memory if it can; nothing is kept while gradients are on."""
        if torch.is_grad_enabled():
            return text.encode(prompts, max_tokens)
        maker = (text, *_state(text))
        if maker != self._maker:
            self._kept.clear()
            self._maker = maker
        key = (max_tokens, *prompts)
        found = self._kept.pop(key, None)
        if found is None:
            with torch.inference_mode(False), torch.no_grad():  # fit for every later use
                found = text.encode(prompts, max_tokens)
        if not found.mask.all(dim=1).any():  # else one may have been cut, which is said each time
            self._kept[key] = found
            self._drop_oldest()
        return TextStates(found.states.clone(), found.mask.clone())

    def _drop_oldest(self) -> None:
        sizes = [each.states.nbytes + each.mask.nbytes for each in self._kept.values()]
        total = sum(sizes)
        for size in sizes:
            if total <= self.most_bytes:
                break
            self._kept.popitem(last=False)
            total -= size


def _state(text: TextEncoder) -> tuple[object, ...]:
    """Return what is equal as long as an encoder gives the same states.

    A weak reference to its memory tells new weights from old ones at the same address, and a version the changes in place.
    """
    kind = text.device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    weights = (
        (
            StorageWeakRef(tensor.untyped_storage()),
            tensor.dtype,
            0 if tensor.is_inference() else tensor._version,
        )
        for tensor in (*text.model.parameters(), *text.model.buffers())
    )
    return (autocast, text.model.training, *weights)

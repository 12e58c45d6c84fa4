"""Outputs and configs as programs written for diffusers expect them: readable by attribute, key and index."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest


class Config(dict[str, Any]):
    """A component's settings: `config["sample_size"]`, `config.sample_size` and `dict(config)`; not to be changed."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"this config has no {name!r}; it has {', '.join(self)}")
        return self[name]

    def __setitem__(self, key: str, value: object) -> None:
        raise InvalidRequest(f"a config is fixed; build the component anew with {key}={value!r}")

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value


@dataclass
class Output:
    """A result by attribute, by key, or by index; fields that are None are left out of all but the first."""

    def keys(self) -> list[str]:
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def values(self) -> tuple[Any, ...]:
        return self.to_tuple()

    def items(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.keys()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]


@dataclass
class AudioPipelineOutput(Output):
    """`audios` is (batch, channel, sample), or (batch, channel, frame) for `output_type="latent"`."""

    audios: Float[Tensor, "batch channel sample"] | Float[np.ndarray, "batch channel sample"]

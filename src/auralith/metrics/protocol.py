"""Protocols of values: all that decides a number beside the sounds, as a SHA-256 over canonical JSON.

Published tables disagree on the same model, since front ends, resamplers, crops and lists of ids differ. So each value is
stored with its protocol, and values may stand in one table only if their protocols agree but for the model: which weights
made the sounds, and with what settings.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from auralith.errors import InvalidRequest, shown
from auralith.files import canonical_json
from auralith.metrics.values import require_distinct

Json = Mapping[str, Any]
MODEL = "model"
"""Key of the part in which comparable values may differ."""
_MOST_NAMED = 12


@dataclass(frozen=True)
class Protocol:
    """A protocol; `ids` are sorted, whatever order they are given in.

    Raises:
        InvalidRequest: an id comes twice.
    """

    metric: str
    version: int
    """Version of the metric's numbers: another one where the same sounds have other values. A release of this package alone
    changes nothing."""
    embedder: Json
    """Front end, SHA-256 of the weights, resampler, window and hop, channels and level, as `Embedder.protocol` gives them."""
    ids: tuple[str, ...]
    model: Json = field(default_factory=dict)
    """Weights that made the sounds, and generation settings."""
    reference_sha256: str | None = None
    """SHA-256 of the reference statistics."""
    crop_seed: int | None = None
    draws: int = 1
    settings: Json = field(default_factory=dict)
    """Settings of the metric itself, such as the direction of a divergence."""

    def __post_init__(self) -> None:
        require_distinct(self.ids)
        object.__setattr__(self, "ids", tuple(sorted(self.ids)))

    def as_json(self) -> dict[str, Any]:
        """Return everything that the hash is of."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Return the hash of the whole protocol, the model included."""
        return _sha256(self.as_json())

    @property
    def comparable_sha256(self) -> str:
        """Return the hash without the model: two values are comparable if and only if these are equal."""
        return comparable_sha256(self.as_json())


def comparable_sha256(protocol: Json) -> str:
    """Return the hash without the model of a protocol as JSON has it."""
    return _sha256({key: value for key, value in protocol.items() if key != MODEL})


def require_comparable(protocols: Mapping[str, Json]) -> None:
    """Raise `InvalidRequest` unless all protocols agree but for the model; the line names the keys that don't.

    `protocols` are as JSON has them, by the name under which a table shows the value.
    """
    for name, other in list(protocols.items())[1:]:
        first = next(iter(protocols))
        if keys := differing_keys(protocols[first], other):
            listed = ", ".join(keys[:_MOST_NAMED])
            more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
            raise InvalidRequest(
                f"{shown(first)} and {shown(name)} were measured by different protocols ({listed}{more});"
                " measure both in the same way"
            )


def differing_keys(first: Json, second: Json) -> list[str]:
    """Return the keys in which two protocols differ but for the model; keys of parts with dots, as in `embedder.window_s`."""
    one, other = (dict(_leaves(protocol)) for protocol in (first, second))
    missing = object()
    return sorted(
        key for key in one.keys() | other.keys() if one.get(key, missing) != other.get(key, missing)
    )


def _leaves(protocol: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in protocol.items():
        if not prefix and key == MODEL:
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", canonical_json(value)


def _sha256(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()

"""A JSON object read key by key, strictly: every mistake is a CheckpointError that names the key's full path."""

import re
from dataclasses import MISSING, fields
from typing import Any

from auralith.errors import CheckpointError, InvalidRequest
from auralith.settings import build_settings

LARGEST_WIDTH = 1_000_000_000


class Section:
    """One object of a config file. Values are checked as they are read; `finish` refuses what nobody read."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise CheckpointError(f"{path} must be an object, not {data!r:.80}")
        self.data: dict[str, Any] = data
        self.path = path
        self.known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def error(self, key: str, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.path}.{key} {problem}")

    def value(self, key: str, default: object = MISSING) -> Any:
        """The raw value; null counts as absent."""
        self.known.add(key)
        if key in self:
            return self.data[key]
        if default is MISSING:
            raise self.error(key, "is missing")
        return default

    def section(self, key: str, *, optional: bool = False) -> "Section":
        return Section(self.value(key, {} if optional else MISSING), f"{self.path}.{key}")

    def sections(self, key: str) -> list["Section"]:
        items = self._list(key, MISSING)
        return [Section(item, f"{self.path}.{key}[{i}]") for i, item in enumerate(items)]

    def integer(
        self,
        key: str,
        default: object = MISSING,
        *,
        minimum: int = 1,
        maximum: int = LARGEST_WIDTH,
    ) -> int:
        """A whole number from `minimum` to `maximum`."""
        value = self.value(key, default)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.error(
                key, f"must be a whole number from {minimum} to {maximum:,}, not {value!r:.80}"
            )
        return value

    def number(self, key: str, default: object = MISSING) -> float:
        value = self.value(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e15:
            raise self.error(key, f"must be a finite number, not {value!r:.80}")
        return float(value)

    def flag(self, key: str, default: object = MISSING) -> bool:
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {value!r:.80}")
        return value

    def text(self, key: str, default: object = MISSING) -> str:
        value = self.value(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be a string, not {value!r:.80}")
        return value

    def choice(self, key: str, choices: dict[str, Any], default: object = MISSING) -> Any:
        """The meaning of one of the known strings."""
        value = self.text(key, default)
        if value not in choices:
            raise self.error(key, f"is {value!r:.80}; supported: {', '.join(choices)}")
        return choices[value]

    def identifier(self, key: str) -> str:
        value = self.text(key)
        if not re.fullmatch(r"[A-Za-z]\w{0,99}", value):
            raise self.error(
                key, f"must be a short name of letters, digits and _, not {value!r:.80}"
            )
        return value

    def integers(self, key: str, default: object = MISSING) -> tuple[int, ...]:
        items = self._list(key, default)
        if not 1 <= len(items) <= 16 or any(
            type(n) is not int or not 1 <= n < 2**16 for n in items
        ):
            raise self.error(key, f"must be 1 to 16 positive whole numbers, not {items!r:.80}")
        return tuple(items)

    def numbers(self, key: str, default: object = MISSING, *, count: int) -> tuple[float, ...]:
        """So many finite numbers."""
        items = self._list(key, default)
        usable = all(type(item) in (int, float) and abs(item) < 1e15 for item in items)
        if len(items) != count or not usable:
            raise self.error(key, f"must be {count} numbers, not {items!r:.80}")
        return tuple(float(item) for item in items)

    def strings(self, key: str, default: object = MISSING) -> tuple[str, ...]:
        items = self._list(key, default)
        if not all(isinstance(item, str) for item in items):
            raise self.error(key, f"must be a list of strings, not {items!r:.80}")
        return tuple(items)

    def names(self, key: str) -> tuple[tuple[str, str], ...]:
        """The pairs of an object of strings; none where it is absent."""
        items = self.value(key, {})
        if not isinstance(items, dict) or not all(isinstance(v, str) for v in items.values()):
            raise self.error(key, f"must be an object of strings, not {items!r:.80}")
        return tuple(items.items())

    def _list(self, key: str, default: object) -> list[Any]:
        value = self.value(key, default)
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"must be a list, not {value!r:.80}")
        return list(value)

    def expect(self, key: str, expected: object, default: object = MISSING) -> None:
        """Refuse any value but the one that is implemented."""
        value = self.value(key, default)
        if value != expected or isinstance(value, bool) != isinstance(expected, bool):
            raise self.error(key, f"is {value!r:.80}; only {expected!r} is supported")

    def ignore(self, *keys: str) -> None:
        """Mark keys that don't change what the network computes."""
        self.known.update(keys)

    def finish(self) -> None:
        """Refuse keys that nobody read: they could mean another architecture."""
        unknown = sorted(set(self.data) - self.known)
        if unknown:
            raise self.error(unknown[0][:80], "is not supported")


def read_fields(section: Section, cls: type[Any]) -> Any:
    """One of our config dataclasses whose fields all have defaults, from keys of the same names; null counts as absent."""
    section.ignore(*(field.name for field in fields(cls)))
    section.finish()
    try:
        config = build_settings(cls, {k: v for k, v in section.data.items() if v is not None})
    except InvalidRequest as error:
        error.rename(lambda field: f"{section.path}.{field}")
        raise CheckpointError(str(error)) from error
    for name, value in vars(config).items():
        if type(value) is int:
            section.integer(name, value)
        elif type(value) is float:
            section.number(name, value)
    return config


IRRELEVANT: dict[str, dict[str, str]] = {
    "model_config": {
        "training": "settings of training, which training.published reads; a loaded model computes the same",
        "lora": "settings of training an adapter",
        "name": "describes the file",
        "description": "describes the file",
        "version": "describes the file",
        "license": "describes the file",
    },
    "pretransform": {
        "iterate_batch": "encodes one item after another, with the same result",
        "chunked": "works in overlapping chunks; tiles here equal the whole",
        "model_half": "the number format of the autoencoder, which is chosen when a model is loaded",
    },
    "encoder": {"requires_grad": "whether training changes it"},
    "decoder": {"requires_grad": "whether training changes it"},
    "bottleneck": {"requires_grad": "whether training changes it"},
    "transformer": {
        "zero_init_branch_outputs": "initial values, which a checkpoint replaces",
        "abs_pos_emb_max_length": "only read with use_abs_pos_emb",
        "timestep_embed_dim": "only read with timestep_cond_type input_concat",
    },
    "feed_forward": {"conv_kernel_size": "only read with use_conv"},
    "norm": {"force_fp32": "norms are computed in float32 here"},
    "same": {
        "checkpointing": "saves memory in training",
        "freeze_backbone": "whether training changes it",
        "use_flash": "another implementation of attention, with the same result",
        "causal": "not read by the reference",
        "conv_bias": "not read by the reference",
        "enable_inner_layer_dropout": "not read by the reference",
        "mapping_style": "not read by the reference",
        "use_dilated_conv": "not read by the reference",
        "use_snake": "not read by the reference",
    },
    "soft_norm": {"freeze": "whether training changes it"},
}
"""By object, the keys of a config that do not change what a loaded model computes, each with the reason."""

"""The sounds that a table asks for: each resolved, with its seed, and a key that says all it is made of.

A row without a seed gets one from its prompt, so the same row gives the same sound wherever it stands and however often
the set is made; of equal prompts the second gets another. The key leaves out what changes at most the last bits: the
device, the number format and the batch.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auralith.adapter_effect import AdapterEffect
from auralith.editing.timeline import without_seconds
from auralith.edits import SourceFile, Variation
from auralith.errors import InvalidRequest, shown
from auralith.escaping import printable
from auralith.files import file_hash
from auralith.numbers import plain_number
from auralith.pipeline import Auralith
from auralith.provenance import Provenance
from auralith.request import GenerationRequest, recorded, require_given
from auralith.sets.server_model import ServerModel
from auralith.sets.table import OWN_COLUMNS, Problem, PromptRow, PromptTable
from auralith.tables.cells import named_file

MAX_SEEDS = 10_000
_LAST_BITS = ("generator", "model", "device", "dtype", "compiled", "batch_index", "batch_size")
_LATER: Mapping[str, object] = {
    "conditions": {}, "schedule": None, "rho": None, "sigmas": None, "mix": (), "normalize": True,
    "fast": None, "cache_threshold": 0.0,
}  # fmt: skip
"""Settings that requests did not have at first, with what every sound was made by then."""
Planner = Auralith | ServerModel
"""Model that resolves requests and knows what is made of them."""
_SECONDS = ("seconds_total", "seconds_start", "seconds_output")


@dataclass(frozen=True)
class PlannedSound:
    """One sound to make."""

    row: PromptRow
    origin: Provenance
    """Provenance as in the tags of its file, but for its place in a batch."""
    key: str
    """SHA-256, in hexadecimal, of what it is made of."""
    clip: Path | None = None
    """The sound that it is a variation of."""

    @property
    def request(self) -> GenerationRequest:
        """With every default filled in; without seconds for a variation, which has its clip's."""
        return self.origin.settings

    @property
    def variation(self) -> Variation | None:
        return self.origin.edit if isinstance(self.origin.edit, Variation) else None


@dataclass(frozen=True)
class Plan:
    """The sounds in the order of their rows, and what is wrong with the other rows."""

    items: tuple[PlannedSound, ...]
    problems: tuple[Problem, ...]


def plan_set(
    model: Planner, table: PromptTable, defaults: Mapping[str, Any] | None = None, n: int = 1
) -> Plan:
    """Plan what a table asks of a model. `defaults` are fields for rows without them, `n` is how many seeds a row gets."""
    items: dict[str, PlannedSound] = {}
    problems = list(table.problems)
    seen = Counter[str]()
    for row in table.rows:
        prompt = str(row.values["prompt"])
        seen[prompt] += 1
        values = {"seed": prompt_seed(prompt, seen[prompt]), **(defaults or {}), **row.values}
        values["conditions"] = _conditions(defaults or {}, row.values)
        try:
            wanted = _items(model, row, values, table.path.parent, n)
        except InvalidRequest as error:
            row.rename(error)
            problems.append(Problem(row.number, row.place, f"can't be made: {error}"))
            continue
        for item in wanted:
            if item.key in items:
                first = items[item.key].row.number
                reason = f"asks for the same sound as row {first}, which is made once"
                problems.append(Problem(row.number, row.place, reason, is_made=True))
            else:
                items[item.key] = item
    return Plan(tuple(items.values()), tuple(sorted(problems, key=lambda problem: problem.row)))


def prompt_seed(prompt: str, occurrence: int = 1) -> int:
    """The seed, below 2^32, of a prompt that names none; `occurrence` counts equal prompts of a table from 1."""
    digest = hashlib.sha256(json.dumps([prompt, occurrence]).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def batches(model: Auralith, items: Sequence[PlannedSound], size: int) -> list[list[PlannedSound]]:
    """The items in batches of at most `size`, each of sounds that can be made together, in the order of their rows.

    Alone is what depends on its neighbors by its nature: noise in the reference's order, and a sampler whose steps are
    chosen for the batch.
    """
    groups: dict[object, list[PlannedSound]] = {}
    plain = [item for item in items if item.variation is None]
    for number, indices in enumerate(model.groups([item.request for item in plain])):
        for index in indices:
            item = plain[index]
            groups.setdefault(item.key if _is_alone(model, item) else number, []).append(item)
    for item in items:
        if item.variation is not None:
            alike = item.key if _is_alone(model, item) else item.variation
            groups.setdefault(alike, []).append(item)
    found = [
        group[start : start + size]
        for group in groups.values()
        for start in range(0, len(group), size)
    ]
    return sorted(found, key=lambda batch: batch[0].row.number)


def _is_alone(model: Auralith, item: PlannedSound) -> bool:
    return item.request.noise == "reference" or model.sampler(item.request).shares_steps


def _items(
    model: Planner, row: PromptRow, values: dict[str, Any], folder: Path, n: int
) -> list[PlannedSound]:
    """The sounds of a row, whose settings are `values`."""
    own = {name: values.pop(name, None) for name in OWN_COLUMNS}
    clip, variation = _variation(own, folder)
    if clip is not None:
        values = {
            name: v for name, v in values.items() if name not in _SECONDS or name in row.values
        }
    first = recorded(GenerationRequest(**values))
    require_given(first)
    source = None if clip is None else SourceFile(clip.name, file_hash(clip))
    found = []
    for index in range(_count(own["n"], n)):
        request = replace(first, seed=(first.seed or 0) + index)
        if clip is None:
            request = model.resolve(request)
        else:
            request = without_seconds(model, request, "a variation is as long as its sound")
        origin = model.provenance(request, edit=variation, source=source)
        found.append(PlannedSound(row, origin, key_of(origin), clip))
    return found


def _conditions(defaults: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    """Return the conditions of a row over those of the whole set; anything but a mapping is left to the request's own check."""
    own = row.get("conditions", {})
    return {**defaults.get("conditions", {}), **own} if isinstance(own, Mapping) else own


def _variation(own: Mapping[str, Any], folder: Path) -> tuple[Path | None, Variation | None]:
    settings = {
        name: own[name] for name in ("strength", "init_noise_level") if own[name] is not None
    }
    if own["init_audio"] is None:
        if settings:
            raise InvalidRequest(f"it has a {next(iter(settings))}, but no init_audio; give one")
        return None, None
    clip = named_file(folder, str(own["init_audio"]))
    if not os.path.isfile(clip):  # unlike Path.is_file, false for impossible names
        raise InvalidRequest(
            f"its init_audio {printable(str(own['init_audio'])[:200])} doesn't exist; give the path of a sound file"
        )
    return clip, Variation(**settings)


def _count(of_row: Any, of_set: int) -> int:
    given = of_set if of_row is None else of_row
    count = plain_number(given)
    if not isinstance(count, int) or not 1 <= count <= MAX_SEEDS:
        raise InvalidRequest(f"n is {shown(given)}; give a whole number from 1 to {MAX_SEEDS}")
    return count


def key_of(origin: Provenance) -> str:
    """Return a hash of what a sound is made of: settings with the seed, model, adapters, edit, and its source by content."""
    made_of = {name: value for name, value in origin.to_tags().items() if name not in _LAST_BITS}
    made_of["settings"] = {  # keys are as they were before requests had these fields
        name: value
        for name, value in made_of["settings"].items()
        if name not in _LATER or value != _LATER[name]
    }
    made_of["adapters"] = [
        [used.file_hash, *vars(used.effect).values()]
        if used.effect != AdapterEffect(used.strength)
        else [used.file_hash, used.strength]
        for used in origin.adapters
    ]
    made_of["source"] = None if origin.source is None else origin.source.file_hash
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

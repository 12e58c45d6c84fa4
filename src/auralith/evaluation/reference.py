"""References that generations are compared with: recordings, or statistics and probabilities that were published of them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from auralith.errors import InvalidRequest, shown
from auralith.evaluation.embedding import EmbeddingCache, class_probabilities, unique_rows
from auralith.evaluation.prompts import PromptList
from auralith.evaluation.sounds import Sounds, folder_sounds, has_any, matched
from auralith.files import cached_file_hash
from auralith.metrics.gaussian import Gaussian, gaussian_of
from auralith.metrics.references import (
    read_pickled_probabilities,
    read_probabilities,
    read_statistics,
)

STATISTICS_SUFFIX = ".npz"
PROBABILITIES_SUFFIXES = (".safetensors", ".pkl")


@dataclass(frozen=True)
class ReferenceSet:
    """A reference; parts that were not given are None, and asking for them is an error that says which to give."""

    sounds: Sounds | None = None
    statistics: Path | None = None
    """Published mean and covariance."""
    probability_file: Path | None = None
    """Published class probabilities by id."""


class EmbeddedReference:
    """A reference as one embedder has it, computed once for all systems that are compared with it."""

    def __init__(
        self, reference: ReferenceSet, cache: EmbeddingCache, on_file: Callable[[int], None]
    ) -> None:
        self._cache, self._on_file = cache, on_file
        self._sounds, self._statistics = reference.sounds, reference.statistics
        self._probability_file = reference.probability_file

    @cached_property
    def frames(self) -> Float[np.ndarray, "frame dim"]:
        """Return the rows of all recordings, each once.

        Raises:
            InvalidRequest: there are no recordings, or one of them can't be embedded.
        """
        if self._sounds is None:
            raise InvalidRequest(
                f"{self._cache.embedder.name} needs reference recordings; give their folder with --reference"
            )
        rows, failed = self._cache.collected(self._sounds.paths, self._on_file)
        if failed:
            id, reason = next(iter(failed.items()))
            raise InvalidRequest(
                f"{len(failed)} recordings of the reference can't be used, such as {shown(id)} ({reason}); take them"
                " out, since its other values are of another set"
            )
        return np.concatenate(list(unique_rows(rows, self._sounds.paths)))

    @cached_property
    def gaussian(self) -> Gaussian:
        """Return the distribution of the reference's frames: the published one if it was given."""
        if self._statistics is None:
            return gaussian_of(self.frames)
        gaussian = read_statistics(self._statistics)
        if gaussian.dim != self._cache.embedder.dim:
            raise InvalidRequest(
                f"{self._statistics} has {gaussian.dim} dimensions, {self._cache.embedder.name} {self._cache.embedder.dim}; they"
                " are of different embedders"
            )
        return gaussian

    def probabilities(
        self, ids: Sequence[str]
    ) -> tuple[dict[str, Float[np.ndarray, " class"]], dict[str, str]]:
        """Return class probabilities by id, and why other ids have none. Raises `InvalidRequest` without any source."""
        if self._probability_file is not None:
            pickled = self._probability_file.suffix == ".pkl"
            if pickled:
                rows = read_pickled_probabilities(self._probability_file)
                found = {id: row.numpy() for id, row in rows.items()}
            else:
                found = read_probabilities(self._probability_file)
            return {id: found[id] for id in ids if id in found}, {}
        if self._sounds is None:
            raise InvalidRequest("a divergence needs a reference for each id; give --reference")
        paths = {id: self._sounds.paths[id] for id in ids if id in self._sounds.paths}
        if not paths:
            raise InvalidRequest(
                f"{self._sounds.name} has no recording of any id, such as {shown(ids[0])}; a divergence compares id by id"
            )
        logits, failed = self._cache.collected(paths, self._on_file)
        return {id: class_probabilities(row) for id, row in logits.items()}, failed

    def sha256(self, kind: str) -> str:
        """Return the hash of what a kind of metric takes from the reference: a file, or all recordings by id."""
        published = self._probability_file if kind == "kl" else self._statistics
        if published is not None and kind != "kad":
            return cached_file_hash(published)
        assert self._sounds is not None  # `frames` and `probabilities` were asked before
        lines = sorted(f"{id}\0{cached_file_hash(path)}" for id, path in self._sounds.paths.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def open_reference(
    sources: Sequence[Path],
    prompts: PromptList | None,
    *,
    allow_missing: bool = False,
    allow_extra: bool = False,
) -> ReferenceSet:
    """Return a reference from a folder of recordings, an `.npz` of statistics, and a file of probabilities.

    Recordings that are named by the ids of prompts must be those of all prompts and no others. Recordings with names of
    their own are a set to keep a distance from; a divergence, which compares id by id, refuses them. A published pickle is read by a reader that knows tensors
    only; nothing in it is executed.

    Raises:
        InvalidRequest: two sources are of one kind, one is of none, or recordings don't match the ids.
    """
    reference = ReferenceSet()
    for source in sources:
        if source.is_dir():
            part, value = "sounds", folder_sounds(source, "the reference")
            if prompts is not None and has_any(value, prompts.prompts):
                value = matched(
                    value, prompts.prompts, allow_missing=allow_missing, allow_extra=allow_extra
                )
        elif source.suffix == STATISTICS_SUFFIX:
            part, value = "statistics", source
        elif source.suffix in PROBABILITIES_SUFFIXES:
            part, value = "probability_file", source
        else:
            raise InvalidRequest(
                f"{source} is not a reference; give a folder of recordings, statistics (.npz), or probabilities"
                f" ({', '.join(PROBABILITIES_SUFFIXES)})"
            )
        if getattr(reference, part) is not None:
            raise InvalidRequest(f"{source} is a second reference of its kind; give one of each")
        reference = replace(reference, **{part: value})
    return reference

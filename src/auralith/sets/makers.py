"""Makers of the sounds of a set: in this process, or as jobs, on several devices at once."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from auralith.content_credentials import ContentSigner
from auralith.editing import longest_clip, read_clip, vary_batch
from auralith.errors import AudioError, InvalidRequest, NonFiniteError
from auralith.pipeline import Audio, Auralith
from auralith.samplers import Step
from auralith.sets.plan import PlannedSound, batches


@dataclass(frozen=True)
class Ready:
    """A sound that is made: `write` puts it into a file, whole."""

    item: PlannedSound
    write: Callable[[Path], None]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A sound that can't be made, and why."""

    item: PlannedSound
    reason: str


@runtime_checkable
class Maker(Protocol):
    """Makes sounds, in any order."""

    def make(
        self, items: Sequence[PlannedSound], on_step: Callable[[int, int | None], None]
    ) -> Generator[Ready | Failed]:
        """Yield each sound once it is made. `on_step` gets the steps that are done of one of them, and of how many."""
        ...


class LocalMaker:
    """Makes sounds in this process.

    On a CPU they are computed one at a time, as `generate` does, since a batch is no faster there: so not a bit depends on
    the batch size, the order or a resumption.
    """

    def __init__(
        self,
        model: Auralith,
        batch_size: int,
        subtype: str | None = None,
        signer: ContentSigner | None = None,
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.subtype, self.signer = subtype, signer

    def make(
        self, items: Sequence[PlannedSound], on_step: Callable[[int, int | None], None]
    ) -> Generator[Ready | Failed]:
        """Yield the sounds, batch by batch."""

        def step(one: Step) -> None:
            on_step(one.index + 1, one.total)

        for batch in batches(self.model, items, self.batch_size):
            yield from self._make(batch, step)

    def _make(
        self, batch: Sequence[PlannedSound], on_step: Callable[[Step], None]
    ) -> Generator[Ready | Failed]:
        """Yield the sounds of a batch; one by one if they fail together, to find the one at fault."""
        try:
            sounds = self._generated(batch, on_step)
        except (InvalidRequest, AudioError, NonFiniteError) as error:
            if len(batch) > 1:
                for item in batch:
                    yield from self._make([item], on_step)
                return
            yield Failed(batch[0], str(error))
            return
        for item, sound in zip(batch, sounds, strict=True):
            write = partial(sound.save, subtype=self.subtype, signer=self.signer)
            yield Ready(item, write, sound.warnings)

    def _generated(
        self, batch: Sequence[PlannedSound], on_step: Callable[[Step], None]
    ) -> list[Audio]:
        requests = [item.request for item in batch]
        variation = batch[0].variation
        if variation is None:
            return self.model.generate_batch(requests, on_step)
        longest = longest_clip(variation, self.model)
        clips = [read_clip(item.clip, longest) for item in batch if item.clip is not None]
        return vary_batch(self.model, requests, clips, variation, on_step)

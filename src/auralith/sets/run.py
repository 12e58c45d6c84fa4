"""Making a set: what is not there yet, each sound written as soon as it is made.

A sound is one file, its picture, and its line of the manifest, in this order: a kill between them leaves a whole file
that its tags make known, so nothing is lost and nothing made twice.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from auralith.content_credentials import ContentSigner
from auralith.errors import AudioError
from auralith.files import (
    check_writable,
    clear_leftovers,
    exclusive,
    make_folder,
    slug,
    whole_file,
)
from auralith.numbers import check_integer
from auralith.pipeline import Auralith
from auralith.provenance import read_provenance
from auralith.result import finished
from auralith.sets.jobs import Devices, JobMaker, job_format
from auralith.sets.makers import Failed, LocalMaker, Maker, Ready
from auralith.sets.manifest import Entry, Manifest
from auralith.sets.overview import overview_page
from auralith.sets.plan import Plan, PlannedSound, Planner, key_of, plan_set
from auralith.sets.server_maker import ServerMaker
from auralith.sets.server_model import ServerModel
from auralith.sets.table import Problem, PromptTable
from auralith.sound.formats import check_output
from auralith.sound.picture import spectrogram_png
from auralith.sound.reading import read

PAGE = "index.html"
PICTURES = "spectrograms"
OnSetStep = Callable[[int, int | None, int, int], None]
"""(steps that are done of a sound, and of how many; sounds that are there, and of how many)."""


@dataclass(frozen=True)
class SetSettings:
    """Settings of a set."""

    n: int = 1
    """Number of sounds of each row that says none: seed, seed+1, …"""
    batch_size: int = 1
    """Sounds made at once, at most; more is faster on a GPU, but changes last bits there."""
    together: bool | None = None
    """Compute a batch in one; if None, where that is faster: not on a CPU."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Fields of a request for the rows without them."""
    format: str = "wav"
    subtype: str | None = None
    signer: ContentSigner | None = None
    devices: Devices | None = None
    """Devices that share the work, each in a process of its own; this process and its model's device if None."""

    def __post_init__(self) -> None:
        for name in ("n", "batch_size"):
            check_integer(self, name, 1)


@dataclass(frozen=True)
class Made:
    """A sound of the set that is there now, `done` of `total`."""

    entry: Entry
    done: int
    total: int
    was_there: bool


def make_set(
    model: Planner,
    table: PromptTable,
    folder: str | Path,
    settings: SetSettings | None = None,
    on_step: OnSetStep | None = None,
) -> Generator[Made | Problem]:
    """Make what a table asks for and the folder lacks. Yields each sound, those that are there first, and each problem.

    However it ends, the page shows what is there then.

    Raises:
        InvalidRequest: the manifest in the folder is damaged, another process makes a set in it, or sounds of this
            format can't be written.
        ResourceError: memory or disk space is short; call it again to go on.
        ServerError: a server's model can't be reached; call it again to go on.
    """
    settings = settings or SetSettings()
    folder = Path(folder)
    _prepare(model, folder, settings)
    plan = plan_set(model, table, settings.defaults, settings.n)
    with exclusive(folder):
        for place in (folder, folder / PICTURES):
            clear_leftovers(place)
        yield from _Run(model, folder, settings, plan, on_step).events()


def _prepare(model: Planner, folder: Path, settings: SetSettings) -> None:
    """The folders; raises where nothing can be written."""
    make_folder(folder)
    make_folder(folder / PICTURES)
    sound = folder / f"sound.{settings.format}"
    check_output(sound, settings.subtype)
    if settings.devices is not None or isinstance(model, ServerModel):
        job_format(settings.format, settings.subtype)
    check_writable(folder / PICTURES / "picture.png")
    if settings.signer is not None:
        settings.signer.check_format(sound)


class _Run:
    def __init__(
        self,
        model: Planner,
        folder: Path,
        settings: SetSettings,
        plan: Plan,
        on_step: OnSetStep | None,
    ) -> None:
        self.model, self.folder, self.settings, self.plan = model, folder, settings, plan
        self._on_step = on_step
        self.manifest = Manifest(folder)
        self.problems = list(plan.problems)
        self.done = 0

    def events(self) -> Iterator[Made | Problem]:
        try:
            yield from self.plan.problems
            missing: list[PlannedSound] = []
            for item in self.plan.items:
                entry = self._found(item)
                if entry is None:
                    missing.append(item)
                else:
                    yield self._made(entry, was_there=True)
            with closing(self._maker().make(missing, self._step)) as results:
                for result in results:
                    yield self._taken(result)
        finally:
            self._write_page()

    def _maker(self) -> Maker:
        settings, model = self.settings, self.model
        if isinstance(model, ServerModel):
            format = job_format(settings.format, settings.subtype)
            return ServerMaker(model, self.folder.resolve().name, format, settings.signer)
        if settings.devices is None:
            size = self._batch_size(model)
            return LocalMaker(model, size, settings.subtype, settings.signer)
        return JobMaker(
            model,
            self.folder,
            settings.devices,
            settings.format,
            settings.subtype,
            settings.signer,
        )

    def _step(self, step: int, of: int | None) -> None:
        if self._on_step is not None:
            self._on_step(step, of, self.done, len(self.plan.items))

    def _batch_size(self, model: Auralith) -> int:
        together = self.settings.together
        if together is None:
            together = model.device.type != "cpu"
        return self.settings.batch_size if together else 1

    def _taken(self, result: Ready | Failed) -> Made | Problem:
        item = result.item
        if isinstance(result, Failed):
            problem = Problem(item.row.number, item.row.place, f"can't be made: {result.reason}")
            self.problems.append(problem)
            return problem
        path = self._path(item)
        result.write(path)
        return self._made(self._entered(item, path, result.warnings), was_there=False)

    def _made(self, entry: Entry, was_there: bool) -> Made:
        self.done += 1
        return Made(entry, self.done, len(self.plan.items), was_there)

    def _found(self, item: PlannedSound) -> Entry | None:
        """The sound if it is there: in the manifest, or whole but without its line."""
        entry = self.manifest.finished(item.key)
        if entry is not None:
            return replace(entry, row=item.row.number)  # where it stands in this table
        path = self._path(item)
        if not path.exists():
            return None
        waveform, sample_rate = read(path)
        sound = finished(waveform, sample_rate, read_provenance(path))
        return self._entered(item, path, sound.warnings)

    def _path(self, item: PlannedSound) -> Path:
        """Return where the sound of an item is to be, or is: no other sound's name, nor a file that we did not make."""
        seed = item.request.seed
        stem = f"{item.row.number:04d}-{slug(item.request.text)}-{seed}"
        for number in count(1):
            name = f"{stem}{'' if number == 1 else f'-{number}'}.{self.settings.format}"
            is_anothers = self.manifest.owners.get(name, item.key) != item.key
            if not is_anothers and self._is_free(self.folder / name, item.key):
                return self.folder / name
        raise AssertionError  # there are enough numbers

    def _is_free(self, path: Path, key: str) -> bool:
        if not path.exists():
            return True
        try:
            return key_of(read_provenance(path)) == key
        except AudioError:
            return False

    def _entered(self, item: PlannedSound, path: Path, warnings: tuple[str, ...]) -> Entry:
        """A sound that is on the disk, with its picture drawn and its line added.

        The picture is of what the file holds, as one drawn after an interruption can't be of anything else.
        """
        waveform, sample_rate = read(path)
        picture = self.folder / PICTURES / f"{path.stem}.png"
        with whole_file(picture) as file:
            file.write(spectrogram_png(waveform, sample_rate))
        entry = Entry(
            row=item.row.number,
            file=path.name,
            picture=f"{PICTURES}/{picture.name}",
            seconds=round(waveform.shape[-1] / sample_rate, 6),
            sample_rate=sample_rate,
            key=item.key,
            warnings=warnings,
            origin=read_provenance(path),
        )
        self.manifest.append(entry)
        return entry

    def _write_page(self) -> None:
        """The sounds in the order of their rows now, then what other tables left here."""
        current = {item.key: item.row.number for item in self.plan.items}
        shown = [
            replace(entry, row=current[key])
            for key in current
            if (entry := self.manifest.finished(key)) is not None
        ]
        others = [
            entry
            for key, entry in self.manifest.entries.items()
            if key not in current and self.manifest.finished(key) is not None
        ]
        problems = [str(problem) for problem in self.problems]
        page = overview_page(self.folder.resolve().name, shown, others, problems)
        with whole_file(self.folder / PAGE) as file:
            file.write(page.encode())

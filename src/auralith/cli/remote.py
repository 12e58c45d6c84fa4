"""`--server URL`: the same verbs, carried out by a server. No network is loaded here."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auralith.cli.adapter import parse_adapter
from auralith.cli.lines import note
from auralith.cli.making import announced_seeds, save_all
from auralith.cli.options import Place, Writing
from auralith.cli.origin import differences
from auralith.cli.output import DEFAULT_FORMAT, Output
from auralith.cli.progress import generation_progress
from auralith.client import Client, Json, ServerError
from auralith.errors import Field, InvalidRequest
from auralith.jobs.names import FORMATS, KINDS, NAMES

if TYPE_CHECKING:
    from auralith.content_credentials import ContentSigner
    from auralith.edits import Edit
    from auralith.provenance import Provenance
    from auralith.request import GenerationRequest
    from auralith.sets import ServerModel

OF_THE_SERVER = ("text_encoder", "weights", "config", "device", "dtype", "compile")
"""Options whose values the server has chosen when it was started."""
TASKS_OF = {kind: task for task, kind in KINDS.items()}
"""Task that makes each kind of edit."""
Remarks = Callable[[bytes], Iterable[str]]
_FIELDS = {name: field for field, name in NAMES.items()} | {"adapters": "adapter"}
"""Fields that options set, by their name in JSON."""


@dataclass(frozen=True)
class _Step:
    """Place within the steps of a sound, as `samplers.Step` has it."""

    index: int
    total: int


@dataclass(frozen=True)
class _RemoteSound:
    """A sound on a server, saved as `result.Audio` is."""

    client: Client
    facts: Json
    remarks: Remarks
    """Returns what is to be said of a file's bytes."""

    @cached_property
    def _data(self) -> bytes:
        return self.client.download(self.facts["id"])

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.facts["warnings"], *self.remarks(self._data))

    def save(self, path: Path, subtype: str | None, signer: "ContentSigner | None") -> None:
        """Write the server's file, with a signature if there is a signer; the format was part of the request."""
        from auralith.content_credentials import write_tagged

        write_tagged(self._data, signer, path)

    def picture(self) -> bytes:
        """Return waveform and spectrogram as a PNG."""
        return self.client.get(f"/v1/audio/{self.facts['id']}/spectrogram.png")


def server_model(place: Place) -> "ServerModel":
    """Return the model of a server, with adapters of it, by which a set is planned and made there.

    Raises `InvalidRequest` for options that the server has chosen, else as `ServerModel` does.
    """
    from auralith.sets import ServerModel

    assert place.server is not None
    _require_own(place)
    adapters = [parse_adapter(text) for text in place.adapter or ()]
    return ServerModel(Client(place.server), place.model, adapters)


def make_again_remotely(
    origin: "Provenance",
    request: "GenerationRequest",
    clip: Path | None,
    place: Place,
    writing: Writing,
) -> None:
    """Have a server make the sound of a file's tags again, under a request that may be changed. `clip` is what an edit started from.

    Without a choice, the model is the one of the tags if the server has it, and the adapters are those of their names.
    """
    assert place.server is not None
    if origin.batch_size > 1:
        note(
            f"it was made in a batch of {origin.batch_size}; alone it is the same but for rounding"
        )
    with Client(place.server) as client:
        models = [one["id"] for one in client.get("/v1/models")["models"]]
    model = place.model or (origin.model if origin.model in models else None)
    adapters = place.adapter
    if adapters is None:
        adapters = [f"{Path(one.name).stem}:{one.effect}" for one in origin.adapters]
    members = _members(request)
    if origin.edit is not None:
        members |= _members(origin.edit) | {"task": TASKS_OF[origin.edit.kind]}

    def remarks(data: bytes) -> list[str]:
        from auralith.provenance import provenance_of

        suffix = writing.format or (writing.output or Path()).suffix[1:] or DEFAULT_FORMAT
        return differences(origin, provenance_of(data, suffix.lower()))

    place = replace(place, model=model, adapter=adapters)
    make_remotely(members, request.text, clip, place, writing, remarks)


def _members(settings: "GenerationRequest | Edit") -> Json:
    """Return the fields of a request or an edit that are set; the noise level of a variation is in place of its strength."""
    found = {one.name: getattr(settings, one.name) for one in fields(settings)}
    left_out = {"kind"} | ({"strength"} if found.get("init_noise_level") is not None else set())
    return {n: value for n, value in found.items() if value is not None and n not in left_out}


def make_remotely(
    request: Json,
    name: str,
    file: Path | None,
    place: Place,
    writing: Writing,
    remarks: Remarks = lambda data: (),
) -> None:
    """Have a server make a request, with a file as its source if there is one, and save the sounds under names after `name`.

    `remarks` are warnings about the bytes of each.
    """
    assert place.server is not None
    _require_own(place)
    target = Output(writing.output, writing.format, writing.subtype, name)
    path = target.check()
    signer = writing.signer(path)
    body = {NAMES.get(field, field): value for field, value in request.items()}
    body |= {"n": writing.n, "format": _format(path, writing.subtype)} | _chosen(place)
    try:
        with Client(place.server) as client:
            if file is not None:
                body["source"] = client.upload(file)["id"]
            job = client.submit(body)
            first, n = job["request"]["seed"], job["request"]["n"]
            paths = target.paths(announced_seeds(range(first, first + n)))
            with generation_progress() as on_step:
                made = _sounds(client, job["id"], on_step)
                sounds = (_RemoteSound(client, facts, remarks) for facts in made)
                with closing(made):
                    save_all(zip(sounds, paths, strict=True), writing, signer)
    except ServerError as error:
        error.rename(lambda field: Field(_FIELDS.get(field, field)))
        raise


def _sounds(client: Client, job_id: str, on_step: Callable[[Any], None]) -> Generator[Json]:
    """Yield the facts of a job's sounds as they come. The job is cancelled when they are no longer wanted."""
    try:
        for event in client.events(job_id):
            if event.kind == "step" and "step" in event.data:
                on_step(_Step(event.data["step"] - 1, event.data["of"]))
            elif event.kind == "output":
                yield event.data
        client.result(job_id)
    except (KeyboardInterrupt, GeneratorExit):
        client.cancel(job_id)
        raise


def _require_own(place: Place) -> None:
    """Raise `InvalidRequest` for options that the server has chosen."""
    for name in OF_THE_SERVER:
        if getattr(place, name) is not None:
            raise InvalidRequest(
                Field(name), " is the server's to choose; leave it out with --server"
            )


def _chosen(place: Place) -> Json:
    """Return the members that name a model and adapters of the server."""
    chosen = (parse_adapter(text) for text in place.adapter or ())
    adapters = [{"id": id} | effect.stated for id, effect in chosen]
    return {"model": place.model, "adapters": adapters}


def _format(path: Path, subtype: str | None) -> str:
    """Return the name of the format that a file of a path and a subtype has."""
    suffix = path.suffix[1:].lower()
    of_suffix = {own: name for name, (one, own) in FORMATS.items() if one == suffix}
    return of_suffix.get(subtype) or of_suffix[None]

"""`--server URL`: the same verbs, carried out by a server. No network is loaded here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from auralith.cli.adapter import parse_adapter
from auralith.cli.making import announced_seeds, save_all
from auralith.cli.options import Place, Writing
from auralith.cli.output import Output
from auralith.cli.progress import generation_progress
from auralith.client import Client, Json, ServerError
from auralith.errors import Field, InvalidRequest
from auralith.files import whole_file
from auralith.jobs.names import FORMATS, NAMES

if TYPE_CHECKING:
    from auralith.content_credentials import ContentSigner

OF_THE_SERVER = ("text_encoder", "weights", "config", "device", "dtype")
"""Options whose values the server has chosen when it was started."""
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

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.facts["warnings"])

    def save(self, path: Path, subtype: str | None, signer: "ContentSigner | None") -> None:
        """Write the server's file, with a signature if there is a signer; the format was part of the request."""
        data = self.client.download(self.facts["id"])
        if signer is not None:
            data = _signed(data, path, signer)
        with whole_file(path) as file:
            file.write(data)

    def picture(self) -> bytes:
        """Return waveform and spectrogram as a PNG."""
        return self.client.get(f"/v1/audio/{self.facts['id']}/spectrogram.png")


def make_remotely(
    request: Json, name: str, file: Path | None, place: Place, writing: Writing
) -> None:
    """Have a server make a request, with a file as its source if there is one, and save the sounds under names after `name`."""
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
                sounds = _sounds(client, job["id"], on_step)
                save_all(zip(sounds, paths, strict=True), writing, signer)
    except ServerError as error:
        error.rename(lambda field: Field(_FIELDS.get(field, field)))
        raise


def _sounds(client: Client, job_id: str, on_step: Callable[[Any], None]) -> Iterator[_RemoteSound]:
    """Yield the sounds of a job as they come. The job is cancelled when they are no longer wanted."""
    try:
        for event in client.events(job_id):
            if event.kind == "step" and "step" in event.data:
                on_step(_Step(event.data["step"] - 1, event.data["of"]))
            elif event.kind == "output":
                yield _RemoteSound(client, event.data)
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
    adapters = [
        dict(zip(("id", "strength"), parse_adapter(text), strict=True))
        for text in place.adapter or ()
    ]
    return {"model": place.model, "adapters": adapters}


def _format(path: Path, subtype: str | None) -> str:
    """Return the name of the format that a file of a path and a subtype has."""
    suffix = path.suffix[1:].lower()
    of_suffix = {own: name for name, (one, own) in FORMATS.items() if one == suffix}
    return of_suffix.get(subtype) or of_suffix[None]


def _signed(data: bytes, path: Path, signer: "ContentSigner") -> bytes:
    """Return a file's bytes with the manifest of what its tags say."""
    from auralith.provenance import read_provenance

    with TemporaryDirectory() as folder:
        unsigned = Path(folder, path.name)
        unsigned.write_bytes(data)
        return signer.sign(data, path, read_provenance(unsigned))

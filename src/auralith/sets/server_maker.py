"""Sets that a server makes: each sound is a job of it, fetched when it is done.

What the server accepted is found again under the same idempotency key, for a day: so neither an interruption here nor one
there has a sound made twice.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from auralith.client import Json, ServerError
from auralith.content_credentials import ContentSigner, write_tagged
from auralith.errors import InvalidRequest
from auralith.files import canonical_json
from auralith.jobs.names import FORMATS, Format
from auralith.jobs.orders import LONGEST_LABEL, Making, Order
from auralith.provenance import provenance_of
from auralith.sets.makers import Failed, Ready
from auralith.sets.plan import PlannedSound, key_of
from auralith.sets.server_model import ServerModel

BUSY = 429
OF_THE_ITEM = (404, 409, 413, 415, 422)
"""Statuses of what is wrong with one sound, after which others may be made."""
SHARE_OF_QUEUE = 2
"""Half of the server's queue is left to others."""


class ServerMaker:
    """Has a server make sounds, as many at a time as it takes, but half of its queue at most."""

    def __init__(
        self,
        model: ServerModel,
        label: str,
        format: Format,
        signer: ContentSigner | None = None,
    ) -> None:
        """`label` names the jobs, by which the server's page shows them as a set."""
        self.model, self.label, self.signer = model, label[:LONGEST_LABEL] or None, signer
        self.format: Format = format
        self._sources: dict[Path, str] = {}
        """Ids of uploads."""
        self._not_before = 0.0

    def make(
        self, items: Sequence[PlannedSound], on_step: Callable[[int, int | None], None]
    ) -> Generator[Ready | Failed]:
        """Yield the sounds in their order. Raises `ServerError` where the server can't be reached or refuses all of them."""
        if not items:
            return
        most = max(1, self.model.client.get("/v1/limits")["queue"] // SHARE_OF_QUEUE)
        waiting, accepted = list(reversed(items)), OrderedDict[str, PlannedSound]()
        try:
            while waiting or accepted:
                while waiting and len(accepted) < most:
                    job = self._submitted(waiting[-1], must_wait=not accepted)
                    if isinstance(job, str):
                        accepted[job] = waiting.pop()
                    elif job is None:
                        break
                    else:
                        waiting.pop()
                        yield job
                if accepted:
                    oldest = next(iter(accepted))
                    outcome = self._outcome(oldest, accepted[oldest], on_step)
                    del accepted[oldest]
                    yield outcome
        finally:
            for job in accepted:
                with suppress(ServerError):
                    self.model.client.cancel(job)

    def _submitted(self, item: PlannedSound, must_wait: bool) -> str | Failed | None:
        """Return the id of a sound's job, or why it is refused; None if the server is busy and need not be waited for."""
        while True:
            pause = self._not_before - time.monotonic()
            if pause > 0 and not must_wait:
                return None
            time.sleep(max(0.0, pause))
            try:
                return self._submit(self._body(item), None if must_wait else 0.0)
            except InvalidRequest as error:  # its file can't be read
                return Failed(item, str(error))
            except ServerError as error:
                if error.status in OF_THE_ITEM:
                    return Failed(item, str(error))
                if error.status != BUSY:
                    raise
                self._not_before = time.monotonic() + error.retry_after

    def _submit(self, body: Json, patience: float | None) -> str:
        """Return the id of a request's job: the one that an earlier run had accepted, unless that failed."""
        client, key = self.model.client, hashlib.sha256(canonical_json(body).encode()).hexdigest()
        job = client.submit(body, key, patience)
        if job["status"] in ("failed", "cancelled"):
            job = client.submit(body, patience=patience)
        return job["id"]

    def _body(self, item: PlannedSound) -> Json:
        making = Making(
            task="text" if item.variation is None else "vary",
            model=self.model.name,
            source=None if item.clip is None else self._source(item.clip),
            adapters=self.model.adapters,
            format=self.format,
            label=self.label,
        )
        return Order(item.request, item.variation, making).to_json()

    def _source(self, clip: Path) -> str:
        if clip not in self._sources:
            self._sources[clip] = self.model.client.upload(clip)["id"]
        return self._sources[clip]

    def _outcome(
        self, job_id: str, item: PlannedSound, on_step: Callable[[int, int | None], None]
    ) -> Ready | Failed:
        """Return the sound of a job once it has ended."""
        client = self.model.client
        for event in client.events(job_id):
            if event.kind == "step" and "step" in event.data:
                on_step(event.data["step"], event.data["of"])
        try:
            (output,) = client.result(job_id)["outputs"]
        except ServerError as error:
            return Failed(item, str(error))
        data = client.download(output["id"])
        if key_of(provenance_of(data, FORMATS[self.format][0])) != item.key:
            return Failed(
                item,
                "the server made another sound: its model or an adapter was replaced meanwhile; run it again",
            )
        return Ready(item, partial(write_tagged, data, self.signer), tuple(output["warnings"]))

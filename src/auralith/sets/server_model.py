"""A model of a server, as far as sounds are planned by it: its config and the hashes of its files, but no weights."""

from collections.abc import Sequence
from typing import Any

from auralith.adapter_effect import AdapterEffect
from auralith.checkpoints import config_from_json
from auralith.client import Client, ServerError
from auralith.config import ModelConfig
from auralith.edits import Edit, SourceFile
from auralith.errors import Field, InvalidRequest, shown
from auralith.foreign import SHAPE_ERRORS
from auralith.jobs.orders import AdapterChoice
from auralith.provenance import AdapterUse, Provenance
from auralith.request import GenerationRequest
from auralith.resolution import Resolver


class ServerModel(Resolver):
    """A model of a server with some of its adapters."""

    def __init__(
        self,
        client: Client,
        name: str | None = None,
        adapters: Sequence[tuple[str, AdapterEffect]] = (),
    ) -> None:
        """Ask the server for a model, its first one if there is no name, and for adapters by id, with their effects.

        Raises:
            InvalidRequest: it has no such model.
            ServerError: it can't be reached, has no such adapter, or answers otherwise.
        """
        self.client = client
        self.name = _chosen(client.get("/v1/models"), name)
        facts = client.get(f"/v1/models/{self.name}/config")
        config, self.model_hash = _read(facts, f"the config of {self.name} on the server")
        super().__init__(config)
        self.adapters = tuple(AdapterChoice.of(id, effect) for id, effect in adapters)
        self._uses = tuple(
            AdapterUse(
                one.id, client.get(f"/v1/adapters/{one.id}")["file_hash"], **vars(one.effect)
            )
            for one in self.adapters
        )

    def provenance(
        self,
        request: GenerationRequest,
        *,
        edit: Edit | None = None,
        source: SourceFile | None = None,
    ) -> Provenance:
        """Return the origin of what the model makes of a resolved request; program and device are known once it is made."""
        return Provenance(
            generator="",
            model=self.name,
            model_hash=self.model_hash,
            device="",
            dtype="",
            batch_index=0,
            batch_size=1,
            settings=request,
            adapters=self._uses,
            edit=edit,
            source=source,
        )


def _chosen(answer: Any, name: str | None) -> str:
    """Return the name of a model that the server has."""
    names = [str(one["id"]) for one in answer["models"]]
    if name is None:
        return names[0]
    if name not in names:
        raise InvalidRequest(
            Field("model"),
            f" {shown(name)} is not on the server; choose one of {', '.join(names):.500}",
        )
    return name


def _read(facts: Any, place: str) -> tuple[ModelConfig, str]:
    try:
        return config_from_json(facts["config"], place), str(facts["model_hash"])
    except SHAPE_ERRORS as error:
        raise ServerError(
            f"{place} is not what a server of Auralith has; check the address"
        ) from error

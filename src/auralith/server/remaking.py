"""A sound that says how it was made, as the request that makes it again."""

from collections.abc import Collection
from pathlib import Path

from auralith.errors import AudioError, InvalidRequest
from auralith.jobs.names import Format
from auralith.jobs.orders import AdapterChoice, Making, Order, read_order
from auralith.jobs.records import Json
from auralith.provenance import Provenance, read_provenance

FORMATS_OF: dict[str, Format] = {
    "pcm_16": "wav16",
    "pcm_24": "wav24",
    "float": "wav32f",
    "flac": "flac",
    "vorbis": "ogg",
    "mpeg_layer_iii": "mp3",
}
"""Format that is asked for, by what `SoundFormat.codec` calls it."""


def remaking(path: Path, codec: str, models: Collection[str]) -> Json | None:
    """Return the request that a file's tags record.

    None where it has none, or where a request can't say what it was made of: another sound, an embedding, a batch. Its model
    is named if it is one of `models`. The bytes tell whether what comes out is the same, since tags come from anyone.
    """
    try:
        origin = read_provenance(path)
        if origin.edit is not None or origin.batch_size != 1:
            return None
        if not isinstance(origin.settings.prompt, str):
            return None
        if not isinstance(origin.settings.negative_prompt, str | None):
            return None
        body = _order(origin, codec, models).to_json()
        read_order(body)
    except (AudioError, InvalidRequest):
        return None
    return body


def _order(origin: Provenance, codec: str, models: Collection[str]) -> Order:
    making = Making(
        model=origin.model if origin.model in models else None,
        adapters=tuple(AdapterChoice.of(Path(a.name).stem, a.effect) for a in origin.adapters),
        format=FORMATS_OF.get(codec, "wav"),
    )
    return Order(origin.settings, None, making)

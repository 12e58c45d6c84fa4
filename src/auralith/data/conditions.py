"""Number conditions of recordings: values such as bpm that a model takes beyond a recording's seconds, from its fields.

A condition is a field of its id: a column of a table, a key of the JSON beside a sound. Cached latents carry all fields.
"""

from auralith.config import ModelConfig
from auralith.data.latents import LatentRecord
from auralith.data.recording import Recording, Recordings
from auralith.errors import InvalidRequest


def recording_conditions(
    config: ModelConfig, recording: Recording | LatentRecord
) -> dict[str, float]:
    """Return the number conditions of a recording by id, but for its seconds.

    Raises:
        InvalidRequest: its fields lack one, or hold one that is not a number or out of the model's range.
    """
    found: dict[str, float] = {}
    for condition in config.given_numbers:
        text = recording.metadata.get(condition.id)
        try:
            found[condition.id] = condition.checked(None if text is None else _number(text))
        except InvalidRequest as error:
            raise InvalidRequest(
                f"{recording.path}: {error}, in the column or JSON key {condition.id!r} of the dataset"
            ) from error
    return found


def check_conditions(config: ModelConfig, recordings: Recordings) -> None:
    """Raise `InvalidRequest` for the first recording whose conditions can't be used, before anything is encoded."""
    if config.given_numbers:
        for index in range(len(recordings)):
            recording_conditions(config, recordings[index])


def _number(text: str) -> float | str:
    """The number in a text, or the text itself."""
    try:
        return float(text)
    except ValueError:
        return text

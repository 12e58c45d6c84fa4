"""Split of recordings into training and validation: by the dataset's own column, else drawn at random.

The manifest of a curation has such a column (`split`), so that near duplicates never stand on both sides.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from auralith.errors import InvalidRequest

SPLIT_COLUMN = "split"
Role = Literal["train", "validation", "test"]
ROLES: Mapping[str, Role] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
}


def roles_of(metadata: Iterable[Mapping[str, str]], column: str) -> list[Role | None]:
    """Return what each recording is for, None where its metadata doesn't say; an empty `column` asks nothing.

    Raises:
        InvalidRequest: the column holds a word that means no split; it is named.
    """
    return [_role(fields, column.lower()) for fields in metadata]


def _role(fields: Mapping[str, str], column: str) -> Role | None:
    word = (
        next((text for name, text in fields.items() if name.lower() == column), "")
        if column
        else ""
    )
    if not word.strip():
        return None
    role = ROLES.get(word.strip().lower())
    if role is None:
        raise InvalidRequest(
            f"the column {column!r} holds {word!r:.60}; write train, validation or test, "
            "or ignore the column with split_column="
        )
    return role


def split_up(
    order: Sequence[int], roles: Sequence[Role | None], validation_items: int
) -> tuple[list[int], list[int]]:
    """Return the recordings to train on and at most `validation_items` to validate on, both in the given order.

    `roles` belong to `order`. Rows marked as validation or test are never trained on, unmarked ones are. Where no row
    is marked as validation, the first ones to be trained on are held out, at most a tenth.
    """
    trained = [i for i, role in zip(order, roles, strict=True) if role in (None, "train")]
    marked = [i for i, role in zip(order, roles, strict=True) if role == "validation"]
    if marked:
        return trained, marked[:validation_items]
    held_out = min(validation_items, len(trained) // 10)
    return trained[held_out:], trained[:held_out]

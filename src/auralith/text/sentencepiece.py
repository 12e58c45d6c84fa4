"""T5's tokenizer from the file of sentencepiece (`spiece.model`), for folders without a `tokenizer.json`.

The file is a protocol buffer, https://protobuf.dev/programming-guides/encoding, of the messages in
https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto. Of a unigram model (Kudo 2018) it holds
the pieces with the logarithms of their probabilities, and a map of characters that normalizes texts.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.errors import CheckpointError
from auralith.text.tokenizer_files import LONGEST_PIECE, refusal

if TYPE_CHECKING:
    import tokenizers  # slow to import

EXTRA_TOKENS = tuple(f"<extra_id_{index}>" for index in reversed(range(100)))
"""Tokens of T5 behind the pieces of the file; they stood for the gaps of its training."""
END = "</s>"
SPACE = "▁"
MOST_BYTES = 100_000_000
UNIGRAM = 1
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
"""Types of a piece."""


@dataclass
class _Model:
    pieces: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    unknown: int | None = None
    control: list[str] = field(default_factory=list[str])
    character_map: bytes = b""


def read_pieces(path: Path) -> "tokenizers.Tokenizer":
    """Return T5's tokenizer of a file. Raises CheckpointError, and what the tokenizers library raises."""
    refused = refusal(path.parent)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise refused(f"{path.name} is larger than {MOST_BYTES:,} bytes")
        model = _parse(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, struct.error) as error:
        reason = f"{path.name} is not a unigram model of sentencepiece ({error}); get it again"
        raise refused(reason) from None
    return _tokenizer(model)


def _parse(data: bytes) -> _Model:
    """Return what the tokenizer needs of the file's message; raises ValueError or struct.error for others."""
    model = _Model()
    for number, value in _fields(data):
        match number, value:
            case 1, bytes():
                _add_piece(model, value)
            case 2, bytes():
                kind = dict(_fields(value)).get(3, UNIGRAM)
                if kind != UNIGRAM:
                    raise ValueError(f"its type is {kind}")
            case 3, bytes():
                character_map = dict(_fields(value)).get(2, b"")
                model.character_map = character_map if isinstance(character_map, bytes) else b""
            case _:
                pass
    if model.unknown is None or not any(text == END for text, _ in model.pieces):
        raise ValueError(f"it has no token for what is unknown, or no {END}")
    return model


def _add_piece(model: _Model, data: bytes) -> None:
    stated = dict(_fields(data))
    text, score, kind = stated.get(1), stated.get(2, 0), stated.get(3, NORMAL)
    if not isinstance(text, bytes) or not isinstance(score, int):
        raise ValueError(f"piece {len(model.pieces)} has no text or no score")
    piece = text.decode()
    if len(piece) > LONGEST_PIECE:
        raise ValueError(f"a piece has more than {LONGEST_PIECE:,} characters")
    if kind == UNKNOWN:
        model.unknown = len(model.pieces)
    elif kind == CONTROL:
        model.control.append(piece)
    (logarithm,) = struct.unpack("<f", score.to_bytes(4, "little"))
    model.pieces.append((piece, logarithm))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message; numbers of a fixed size come as their bits."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        match kind:
            case 0:
                value, place = _varint(data, place)
                yield number, value
            case 1 | 5:
                size = 8 if kind == 1 else 4
                yield number, int.from_bytes(_taken(data, place, size), "little")
                place += size
            case 2:
                size, place = _varint(data, place)
                yield number, _taken(data, place, size)
                place += size
            case _:
                raise ValueError(f"a field of type {kind}")


def _taken(data: bytes, place: int, size: int) -> bytes:
    if place + size > len(data):
        raise ValueError("it ends too early")
    return data[place : place + size]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number in groups of 7 bits, the lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        (byte,) = _taken(data, place, 1)
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than 10 bytes")


def _tokenizer(model: _Model) -> "tokenizers.Tokenizer":
    """Return what transformers publishes as the `tokenizer.json` of T5."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    assert model.unknown is not None
    pieces = [*model.pieces, *((name, 0.0) for name in EXTRA_TOKENS)]
    found = tokenizers.Tokenizer(models.Unigram(pieces, model.unknown, byte_fallback=False))
    special = [*model.control, pieces[model.unknown][0], *EXTRA_TOKENS]
    found.add_special_tokens([tokenizers.AddedToken(name, normalized=False) for name in special])
    if model.character_map:
        found.normalizer = normalizers.Precompiled(model.character_map)
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, "always")]
    )
    found.post_processor = processors.TemplateProcessing(
        single=f"$A {END}",
        pair=f"$A {END} $B {END}",
        special_tokens=[(END, found.token_to_id(END))],
    )
    found.decoder = decoders.Metaspace(SPACE, "always")
    return found

"""Reader of what a prompt states and can be measured: tempo, key, pitch, bars, counts, seconds, placement, loops, fades, silence.

A word counts only where it can mean nothing else: "A" may be an article, "in C" a language, "808" a machine, 44,100 Hz a
sample rate. A control that a text states in two ways ("120 to 130 bpm", "C4, then E4") is a conflict, not a statement.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from auralith.controls import prompt_pitch, prompt_space, prompt_time
from auralith.controls.notes import Key, Note
from auralith.controls.numerals import Found, plain
from auralith.controls.prompt_space import Side, Width

__all__ = ["Found", "Key", "Note", "Stated", "read_prompt"]


@dataclass(frozen=True, slots=True)
class Stated:
    """Statements of a prompt; None where it states nothing, or nothing definite."""

    tempo: Found[float] | None = None
    """Beats per minute."""
    key: Found[Key] | None = None
    note: Found[Note] | None = None
    frequency: Found[float] | None = None
    """Hz, of a pitch."""
    bars: Found[float] | None = None
    beats_per_bar: Found[float] | None = None
    """In quarter notes: 3 for 6/8."""
    count: Found[float] | None = None
    """Number of separate events, a whole number."""
    seconds: Found[float] | None = None
    side: Found[Side] | None = None
    width: Found[Width] | None = None
    loop: Found[bool] | None = None
    fade_in: Found[bool] | None = None
    fade_out: Found[bool] | None = None
    loudness: Found[float] | None = None
    """LUFS."""
    silence: Found[bool] | None = None
    conflicts: tuple[str, ...] = ()
    """Names of the fields that are stated in more than one way."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields that are stated."""
        return tuple(f.name for f in fields(self) if isinstance(getattr(self, f.name), Found))


def _fades(way: str) -> Callable[[str], Iterator[tuple[bool, int, int]]]:
    def read(text: str) -> Iterator[tuple[bool, int, int]]:
        return (
            (True, start, stop) for found, start, stop in prompt_space.fades(text) if found == way
        )

    return read


_READERS: dict[str, Callable[[str], Iterator[tuple[Any, int, int]]]] = {
    "tempo": prompt_time.tempi,
    "key": prompt_pitch.keys,
    "note": prompt_pitch.notes,
    "frequency": prompt_pitch.frequencies,
    "bars": prompt_time.bars,
    "beats_per_bar": prompt_time.meters,
    "count": prompt_time.counts,
    "seconds": prompt_time.seconds,
    "side": prompt_space.sides,
    "width": prompt_space.widths,
    "loop": prompt_space.loops,
    "fade_in": _fades("in"),
    "fade_out": _fades("out"),
    "loudness": prompt_space.loudnesses,
    "silence": prompt_space.silences,
}


def read_prompt(text: str) -> Stated:
    """Return what a prompt states, each with its place in the text. No text is refused."""
    stated: dict[str, Found] = {}
    conflicts = []
    spelled = plain(text)
    for name, reader in _READERS.items():
        found = [Found(v, start, stop, text[start:stop]) for v, start, stop in reader(spelled)]
        found = [each for each in found if not _is_vague_twin(each.value, found)]
        if len({each.value for each in found}) > 1:
            conflicts.append(name)
        elif found:
            stated[name] = min(found, key=lambda each: each.start)
    return Stated(**stated, conflicts=tuple(conflicts))


def _is_vague_twin(value: object, others: list[Found]) -> bool:
    """Return whether a key without its mode, or a note without its octave, is stated in full elsewhere."""
    if isinstance(value, Key) and value.mode is None:
        return any(o.value.tonic == value.tonic and o.value.mode for o in others)
    if isinstance(value, Note) and value.octave is None:
        return any(o.value.pitch_class == value.pitch_class and o.value.octave for o in others)
    return False

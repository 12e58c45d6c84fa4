"""Edits: a variation, an inpainting, an extension or a loop, as frozen values that are checked once.

`auralith.editing` carries them out; a result's tags hold them, told apart by `kind`. Times are seconds. What depends on
a file or a model (a range beyond the file's end, a loop longer than the window) is checked there.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, get_args, no_type_check

from auralith.errors import Field, InvalidRequest, shown
from auralith.numbers import Range, check_ranges, finite_number, limit_of
from auralith.request import MOST_SECONDS, check_unicode
from auralith.samplers.schedules import MOST_SIGMA

Direction = Literal["after", "before"]
MAX_PASSES = 20
MAX_CROSSFADE = 10.0
MAX_BPM = 1_000.0
RANGES: dict[str, Range] = {
    "strength": Range(least=0.0, most=1.0),
    "init_noise_level": Range(above=0.0, most=MOST_SIGMA),
    "seconds_total": Range("s", above=0.0, most=MOST_SECONDS),
    "overlap": Range("s", above=0.0, most=MOST_SECONDS),
    "seconds": Range("s", above=0.0, most=MOST_SECONDS),
    "bpm": Range("beats per minute", above=0.0, most=MAX_BPM),
    "bars": Range(least=1, most=10_000, is_whole=True),
    "beats_per_bar": Range(least=1, most=64, is_whole=True),
    "crossfade": Range("s", above=0.0, most=MAX_CROSSFADE),
    "passes": Range(least=1, most=MAX_PASSES, is_whole=True),
}
"""Range of each number of an edit: fields of one name have one range."""


@dataclass(frozen=True)
class SourceFile:
    """The file that an edit started from: its name, never a path, and the SHA-256 of its bytes."""

    name: str
    file_hash: str


@no_type_check  # values come from people and from JSON: the checks below are for any type
@dataclass(frozen=True)
class Variation:
    """The same sound made anew: noise is added to it and taken away again under the prompt.

    Raises:
        InvalidRequest: a value is out of its range; so do the other edits.
    """

    strength: float = 0.5
    """Share that may change, 0 to 1. 0: the autoencoder's round trip; 1: the noise that a generation starts from.

    Between them the noise level sigma is sigma_min (sigma_max / sigma_min)^strength; samplers that walk along t start
    at strength · t_max.
    """
    init_noise_level: float | None = None
    """Noise level to start from, in place of `strength`; as stable-audio-tools takes it."""
    kind: Literal["variation"] = "variation"

    @property
    def is_round_trip(self) -> bool:
        """Return whether the sound only passes the autoencoder."""
        return not self.strength and self.init_noise_level is None

    @property
    def cut_ends(self) -> tuple[bool, bool]:
        """Return whether the start and the end of the result are cut by the model; a file's own ends are not."""
        return not self.is_round_trip, not self.is_round_trip

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)
        if self.strength is None:
            raise InvalidRequest(Field("strength"), " is missing; give a number from 0 to 1")


@no_type_check
@dataclass(frozen=True)
class Inpainting:
    """Parts of a sound made anew, in keeping with the rest of it."""

    ranges: tuple[tuple[float, float], ...]
    """(from, to) in seconds; in any order, but apart from each other."""
    crossfade: float | None = None
    """Seconds around a range that blend; the decoder's reach if left out."""
    passes: int = 4
    """Number of times that each stretch of steps is walked; more fits better.

    RePaint's resampling; 1 walks it once.
    """
    kind: Literal["inpainting"] = "inpainting"
    cut_ends: ClassVar[tuple[bool, bool]] = (False, False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", _checked_ranges(self.ranges))
        check_ranges(self, RANGES)

    def require_inside(self, seconds: float) -> None:
        """Raise `InvalidRequest` if a range ends after a sound of so many seconds."""
        for start, end in self.ranges:
            if end > seconds:
                raise InvalidRequest(
                    Field("ranges"),
                    f": {start:g} to {end:g} s ends after the sound, which is {seconds:.3f} s long; "
                    "choose one inside it, or extend the sound",
                    limit=limit_of(most=seconds),
                )


@no_type_check
@dataclass(frozen=True)
class Extension:
    """A sound continued, or led up to, window by window."""

    seconds_total: float
    """Length of the result, the file included."""
    direction: Direction = "after"
    """Side of the file on which the new sound comes."""
    prompts: tuple[tuple[float, str], ...] = ()
    """(second of the result, prompt): what the new sound is from then on; before the first, the request's prompt."""
    overlap: float | None = None
    """Seconds that each window continues from; a third of it if left out, less at a new prompt."""
    crossfade: float | None = None
    """Seconds of the file's end (or beginning) that blend; the decoder's reach if left out."""
    passes: int = 4
    """Number of times that each stretch of steps is walked; more fits better."""
    hold_level: bool = True
    """Bring the new sound to the loudness of the file, unless that dies away or the prompt is new."""
    kind: Literal["extension"] = "extension"

    @property
    def cut_ends(self) -> tuple[bool, bool]:
        """Return whether the start and the end of the result are cut: the new one is."""
        return self.direction == "before", self.direction == "after"

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)
        if self.seconds_total is None:
            raise InvalidRequest(
                Field("seconds_total"), " is missing; give the length of the result in seconds"
            )
        if self.direction not in get_args(Direction):
            raise InvalidRequest(
                Field("direction"),
                f" is {shown(self.direction)}; choose after or before",
                limit={"enum": list(get_args(Direction))},
            )
        if not isinstance(self.hold_level, bool):
            raise InvalidRequest(
                Field("hold_level"), f" is {shown(self.hold_level)}; choose true or false"
            )
        object.__setattr__(self, "prompts", _checked_prompts(self.prompts))

    def require_longer(self, num_samples: int, sample_rate: int) -> None:
        """Raise `InvalidRequest` if the result would not be longer than a sound of so many samples."""
        if round(self.seconds_total * sample_rate) <= num_samples:
            raise InvalidRequest(
                Field("seconds_total"),
                f" is {self.seconds_total:g} s; it must be above the sound's own "
                f"{num_samples / sample_rate:.3f} s",
                limit=limit_of(above=num_samples / sample_rate),
            )


@no_type_check
@dataclass(frozen=True)
class Loop:
    """A sound whose end runs into its start: of so many seconds, or of so many bars at a tempo."""

    seconds: float | None = None
    """Length of the loop in seconds."""
    bpm: float | None = None
    """Tempo in beats per minute; with `bars` in place of `seconds`."""
    bars: int | None = None
    """Length in bars."""
    beats_per_bar: int = 4
    """Beats in a bar."""
    kind: Literal["loop"] = "loop"
    cut_ends: ClassVar[tuple[bool, bool]] = (False, False)

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)
        by_tempo = self.bpm is not None and self.bars is not None
        if by_tempo == (self.seconds is not None) or (self.bpm is None) != (self.bars is None):
            raise InvalidRequest(
                "a loop needs its ",
                Field("seconds"),
                ", or its ",
                Field("bpm"),
                " and ",
                Field("bars"),
                "; give one of the two",
            )

    def num_samples(self, sample_rate: int) -> int:
        """Length at this sample rate, to the nearest sample."""
        if self.seconds is not None:
            return round(self.seconds * sample_rate)
        assert self.bpm is not None and self.bars is not None  # checked above
        return round(self.bars * self.beats_per_bar * 60 * sample_rate / self.bpm)


Edit = Variation | Inpainting | Extension | Loop
EDITS: dict[str, type] = {
    "vary": Variation,
    "inpaint": Inpainting,
    "extend": Extension,
    "loop": Loop,
}
"""Edits by the task, as commands and requests call it."""


def _checked_ranges(ranges: object) -> tuple[tuple[float, float], ...]:
    """In their order in time, as floats."""
    if not isinstance(ranges, (list, tuple)) or not ranges:
        raise InvalidRequest(
            Field("ranges"),
            " name no range to inpaint; give one or more as [[2.0, 3.5]], in seconds",
        )
    for pair in ranges:
        if (
            not isinstance(pair, (list, tuple))
            or len(pair) != 2
            or None in map(finite_number, pair)
        ):
            raise InvalidRequest(
                Field("ranges"), f": {shown(pair)} is not two numbers of seconds; write [2.0, 3.5]"
            )
        if not 0 <= pair[0] < pair[1]:
            raise InvalidRequest(
                Field("ranges"),
                f": {pair[0]:g} to {pair[1]:g} s is empty or begins before 0; give two ascending times",
            )
    ordered = sorted((float(start), float(end)) for start, end in ranges)
    for (start, end), (next_start, next_end) in pairwise(ordered):
        if next_start < end:
            raise InvalidRequest(
                Field("ranges"),
                f": {start:g} to {end:g} s and {next_start:g} to {next_end:g} s overlap; join them",
            )
    return tuple(ordered)


def _checked_prompts(prompts: object) -> tuple[tuple[float, str], ...]:
    if not isinstance(prompts, (list, tuple)):
        raise InvalidRequest(Field("prompts"), ' must be a list such as [[20.0, "thunder"]]')
    for entry in prompts:
        pair = isinstance(entry, (list, tuple)) and len(entry) == 2
        if (
            not pair
            or finite_number(entry[0]) is None
            or entry[0] < 0
            or not isinstance(entry[1], str)
        ):
            raise InvalidRequest(
                Field("prompts"),
                f': {shown(entry)} is not a second and a prompt; write [20.0, "thunder"]',
            )
        if not entry[1].strip():
            raise InvalidRequest(
                Field("prompts"), f": the one from {entry[0]:g} s on is empty; describe the sound"
            )
        check_unicode("prompts", entry[1])
    ordered = tuple(sorted((float(second), text) for second, text in prompts))
    if len({second for second, _ in ordered}) < len(ordered):
        raise InvalidRequest(Field("prompts"), ": two begin at the same second; keep one of them")
    return ordered

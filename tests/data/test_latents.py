"""The cache of latents: what is written is read back, and nothing but the right cache is read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from auralith.config import AudioFormat
from auralith.data.latent_header import CacheHeader, shard_path
from auralith.data.latents import (
    EncodedItem,
    LatentCache,
    LatentRecord,
    write_shard,
)
from auralith.errors import CheckpointError

AUTOENCODER, TEXT = "a1" * 32, "b2" * 32
AUDIO = AudioFormat(sample_rate=800, channels=2, latent_channels=3, samples_per_frame=8)
HEADER = CacheHeader(
    autoencoder=AUTOENCODER,
    text_encoder=TEXT,
    max_tokens=5,
    audio=AUDIO,
    silence_mean=(0.25, -0.5, 1.0),
    silence_std=(0.0, 0.0, 0.0),
    dataset="c3" * 32,
    total=5,
    bad=(("broken.wav", "no sound"),),
    num_shards=2,
    settings={"variants": 2},
)
TEXTS = {"rain": torch.randn(2, 4).half(), "a storm": torch.randn(3, 4).half()}


def item(name: str, num_frames: int, prompts: tuple[str, ...] = ("rain",)) -> EncodedItem:
    """Frame n of channel c holds 10 c + n; two frames of transition follow the sound."""
    frames = torch.arange(num_frames + 2.0)
    mean = torch.stack([10 * channel + frames for channel in range(3)]).half()
    record = LatentRecord(name, f"{name}.wav", num_frames / 100, num_frames, prompts, {"k": name})
    return EncodedItem(record, mean, torch.full_like(mean, 0.5))


ITEMS = [item("one", 4), item("two", 6, ("a storm", "rain")), item("three", 1), item("four", 9)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    HEADER.write(tmp_path)
    write_shard(tmp_path, 0, HEADER, ITEMS[:3], TEXTS, (("nan.wav", "is not finite"),))
    write_shard(tmp_path, 1, HEADER, ITEMS[3:], TEXTS)
    return tmp_path


def test_records_come_back_in_order(folder: Path) -> None:
    cache = LatentCache.open(folder, AUTOENCODER, TEXT)
    assert list(cache) == [item.record for item in ITEMS]
    assert [cache.num_frames(i) for i in range(len(cache))] == [4, 6, 1, 9]
    assert cache.seconds == pytest.approx(0.2)
    assert cache.audio == AUDIO
    assert cache.bad == (("broken.wav", "no sound"), ("nan.wav", "is not finite"))
    assert cache.report().total == 5
    assert cache.report().distinct_prompts == 2
    with pytest.raises(IndexError):
        cache.record(4)


@pytest.mark.parametrize(("start", "stop"), [(0, 6), (2, 5), (5, 7), (7, 12), (20, 22)])
def test_a_crop_is_that_stretch_and_then_silence(folder: Path, start: int, stop: int) -> None:
    cache = LatentCache.open(folder, AUTOENCODER)
    found = cache.latents(1, start, stop)
    whole = torch.cat([ITEMS[1].mean.float(), cache.silence[:, None].expand(-1, 30)], dim=1)
    assert found.dtype == torch.float32
    assert torch.equal(found, whole[:, start:stop])


def test_a_draw_is_the_mean_and_noise_of_the_posteriors_width(folder: Path) -> None:
    cache = LatentCache.open(folder, AUTOENCODER)
    draws = [cache.latents(3, 0, 14, np.random.default_rng(seed)) for seed in range(400)]
    assert torch.equal(draws[7], cache.latents(3, 0, 14, np.random.default_rng(7)))
    noise = torch.stack(draws) - cache.latents(3, 0, 14)
    assert noise[..., :11].std().item() == pytest.approx(0.5, rel=0.05)
    assert noise[..., :11].mean().item() == pytest.approx(0, abs=0.02)
    assert not noise[..., 11:].any()  # here silence has no width


def test_an_empty_stretch_is_a_mistake(folder: Path) -> None:
    with pytest.raises(IndexError):
        LatentCache.open(folder, AUTOENCODER).latents(0, 3, 3)


def test_text_is_padded_to_the_limit(folder: Path) -> None:
    cache = LatentCache.open(folder, AUTOENCODER, TEXT)
    states, mask = cache.text(1, 0)
    assert torch.equal(states[:3], TEXTS["a storm"].float())
    assert not states[3:].any()
    assert mask.tolist() == [True, True, True, False, False]
    assert torch.equal(cache.text(1, 1)[0], cache.text(0, 0)[0])


def test_the_key_is_of_the_content(folder: Path) -> None:
    key = LatentCache.open(folder, AUTOENCODER).key
    replace(HEADER, silence_std=(0.1, 0.1, 0.1)).write(folder)
    assert LatentCache.open(folder, AUTOENCODER).key == key
    for name in ("dataset", "text_encoder", "autoencoder"):
        assert replace(HEADER, **{name: "ff" * 32}).shard_key != key
    assert replace(HEADER, settings={"variants": 3}).shard_key != key


def test_other_weights_are_refused_with_both_hashes(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"another autoencoder \(a1a1a1a1a1a1, this one is d4d4d4d4d4d4\)"
    ):
        LatentCache.open(folder, "d4" * 32)
    with pytest.raises(CheckpointError, match=r"another text encoder \(b2b2b2b2b2b2, this one"):
        LatentCache.open(folder, AUTOENCODER, "d4" * 32)


def test_a_cache_without_text_is_refused_where_text_is_used(tmp_path: Path) -> None:
    header = replace(HEADER, text_encoder=None, num_shards=1)
    header.write(tmp_path)
    write_shard(tmp_path, 0, header, ITEMS, {})
    assert len(LatentCache.open(tmp_path, AUTOENCODER)) == 4
    with pytest.raises(CheckpointError, match="holds no text"):
        LatentCache.open(tmp_path, AUTOENCODER, TEXT)


def test_an_unfinished_cache_is_refused(folder: Path) -> None:
    shard_path(folder, 1).unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of 2 shards"):
        LatentCache.open(folder, AUTOENCODER)


def test_a_damaged_shard_is_named(folder: Path) -> None:
    path = shard_path(folder, 1)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"shard-00001.safetensors is damaged"):
        LatentCache.open(folder, AUTOENCODER)


def test_a_shard_of_another_cache_is_named(folder: Path) -> None:
    write_shard(folder, 1, replace(HEADER, dataset="e5" * 32), ITEMS[3:], TEXTS)
    with pytest.raises(CheckpointError, match="is of another cache"):
        LatentCache.open(folder, AUTOENCODER)


def test_a_shard_may_be_empty(folder: Path) -> None:
    write_shard(folder, 0, HEADER, [], {}, (("one.wav", "gone"),))
    cache = LatentCache.open(folder, AUTOENCODER)
    assert [record.id for record in cache] == ["four"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "holds no latents"), ("{", "is damaged"), ('{"format": 9}', "has format 9")],
)
def test_what_is_no_cache_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "cache.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        LatentCache.open(tmp_path, AUTOENCODER)


@pytest.mark.parametrize(
    "values",
    [
        {"silence_mean": ["x", 0.0, 0.0]},
        {"silence_std": [0.0]},
        {"max_tokens": True},
        {"total": "5"},
        {"bad": [["a"]]},
        {"settings": 3},
        {"audio": {"sample_rate": 0}},
        {"unheard": 1},
    ],
)
def test_values_that_no_cache_has_are_refused(folder: Path, values: dict[str, object]) -> None:
    header = json.loads((folder / "cache.json").read_text()) | {"format": 1} | values
    del header["checksum"]
    (folder / "cache.json").write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match=r"cache\.json is damaged; encode into a new folder"):
        LatentCache.open(folder, AUTOENCODER)


def test_the_header_is_plain_json(folder: Path) -> None:
    header = json.loads((folder / "cache.json").read_text())
    assert header["audio"]["sample_rate"] == 800
    assert CacheHeader.read(folder) == HEADER

"""Encoding a dataset: the latents are right up to the last frame, and a run can be stopped, continued and trusted."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.cli.main import run
from auralith.config import AudioFormat, OobleckConfig
from auralith.data.latent_header import shard_path
from auralith.data.latents import LatentCache
from auralith.data.recording import Recording, Recordings
from auralith.errors import CheckpointError, InvalidRequest, ResourceError
from auralith.models.autoencoder import Oobleck
from auralith.pipeline import Auralith, load
from auralith.sound.extent import SoundInfo
from auralith.training import encode
from auralith.training.encode import EncodeOptions, encode_dataset
from auralith.training.encoder import LatentEncoder, stored_reconstruction, weights_hash

RATE = 800
AUDIO = AudioFormat(sample_rate=RATE, channels=2, latent_channels=4, samples_per_frame=8)
OPTIONS = EncodeOptions(variants=0, dtype="float32", threads=2)


class Sounds(Recordings):
    """Recordings in memory; a file that is None can't be decoded."""

    def __init__(self, files: Mapping[str, Tensor | None], sample_rate: int = RATE) -> None:
        self.names, self.waveforms = list(files), list(files.values())
        self.sample_rate = sample_rate
        self.reads: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Recording:
        return Recording(self.names[i], self.names[i], (), {"title": f"sound {i}", "genre": "x"})

    def info(self, i: int) -> SoundInfo:
        waveform = self.waveforms[i]
        length = 100 if waveform is None else waveform.shape[1]
        return SoundInfo(length, self.sample_rate, 2)

    def read(
        self, i: int, start: int = 0, stop: int | None = None
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        waveform = self.waveforms[i]
        if waveform is None:
            raise InvalidRequest(f"{self.names[i]} is damaged")
        self.reads.append(self.names[i])
        return waveform[:, start:stop], self.sample_rate


def noise(num_samples: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng([seed, num_samples])
    return torch.from_numpy(rng.uniform(-0.5, 0.5, (2, num_samples)).astype(np.float32))


def oobleck(seed: int = 0) -> Oobleck:
    config = OobleckConfig(2, 4, (2, 4), 4, (1, 2), 4, (1, 2))
    network = Oobleck(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.fixture(scope="module")
def encoder() -> LatentEncoder:
    return LatentEncoder(oobleck(), AUDIO)


@pytest.fixture(scope="module")
def embedded() -> Auralith:
    return load(device="cpu", dtype="float32")


def filled(
    encoder: LatentEncoder,
    recordings: Recordings,
    folder: Path,
    options: EncodeOptions = OPTIONS,
) -> LatentCache:
    list(encode_dataset(encoder, recordings, folder, options))
    return LatentCache.open(folder, encoder.autoencoder_hash)


@pytest.mark.parametrize("num_samples", [4_001, 4_000, 90, 3])
def test_latents_equal_those_of_the_recording_within_endless_silence(
    encoder: LatentEncoder, tmp_path: Path, num_samples: int
) -> None:
    waveform = noise(num_samples)
    cache = filled(encoder, Sounds({"a": waveform}), tmp_path)
    frames = AUDIO.num_frames(num_samples)
    padded = torch.nn.functional.pad(waveform, (0, 8 * (frames + 60) - num_samples))
    with torch.inference_mode():
        posterior = encoder.autoencoder.encode(padded[None])
    window = frames + 30  # far beyond the cached transition
    torch.testing.assert_close(
        cache.latents(0, 0, window), posterior.mean[0, :, :window], rtol=1e-4, atol=1e-5
    )
    assert cache.record(0).num_frames == frames
    assert cache.record(0).seconds == num_samples / RATE


def test_a_crop_holds_the_sound_of_its_time(encoder: LatentEncoder, tmp_path: Path) -> None:
    clicked = torch.zeros(2, 8_000)
    clicked[:, 8 * 700 + 3] = 1.0
    cache = filled(encoder, Sounds({"a": clicked}), tmp_path)
    crop = cache.latents(0, 650, 750)
    loud = (crop - cache.silence[:, None]).abs().amax(0) > 1e-4
    heard = loud.nonzero().flatten() + 650
    reach = encoder.tail_frames
    assert heard.min() >= 700 - reach
    assert heard.max() <= 700 + reach
    assert loud[700 - 650]


def test_float16_halves_the_folder_and_keeps_three_digits(
    encoder: LatentEncoder, tmp_path: Path
) -> None:
    sounds = Sounds({"a": noise(64_000)})
    exact = filled(encoder, sounds, tmp_path / "32")
    half = filled(encoder, sounds, tmp_path / "16", replace(OPTIONS, dtype="float16"))
    sizes = [shard_path(cache.folder, 0).stat().st_size for cache in (exact, half)]
    assert sizes[1] < 0.52 * sizes[0]
    torch.testing.assert_close(
        half.latents(0, 0, 8_000), exact.latents(0, 0, 8_000), rtol=1e-3, atol=1e-3
    )


def many(count: int = 24) -> Sounds:
    return Sounds({f"{i}.wav": noise(400 + 8 * i, seed=i) for i in range(count)})


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MB", 10_000)


@pytest.mark.usefixtures("small_shards")
def test_a_stopped_run_goes_on_behind_its_last_shard(
    encoder: LatentEncoder, tmp_path: Path
) -> None:
    options = replace(OPTIONS, shard_mb=1)
    whole = filled(encoder, many(), tmp_path / "whole", options)
    assert whole.header.num_shards > 3

    stopped = tmp_path / "stopped"
    steps = encode_dataset(encoder, many(), stopped, options)
    while next(steps).shard < 2:
        pass
    steps.close()
    left = stopped / ".auralith-dead.part"
    left.write_bytes(b"what kill -9 leaves")
    os.utime(left, (0, 0))  # one made just now may have a writer that is about to lock it
    with pytest.raises(CheckpointError, match=r"lacks \d+ of"):
        LatentCache.open(stopped, encoder.autoencoder_hash)
    before = shard_path(stopped, 1).stat().st_mtime_ns

    rest = many()
    *_, last = encode_dataset(encoder, rest, stopped, options)
    first_shards = len(whole.shards[0]) + len(whole.shards[1])
    assert rest.reads and set(rest.reads) == set(rest.names[first_shards:])
    assert (last.done, last.total) == (24, 24)
    assert shard_path(stopped, 1).stat().st_mtime_ns == before
    assert not list(stopped.glob(".auralith-*"))
    for index in range(whole.header.num_shards):
        made = shard_path(stopped, index).read_bytes()
        assert made == shard_path(whole.folder, index).read_bytes()


@pytest.mark.usefixtures("small_shards")
def test_only_parts_share_a_folder(encoder: LatentEncoder, tmp_path: Path) -> None:
    going = encode_dataset(encoder, many(), tmp_path, OPTIONS)
    next(going)
    with pytest.raises(InvalidRequest, match="another process works on"):
        list(encode_dataset(encoder, many(), tmp_path, OPTIONS))
    list(going)
    list(encode_dataset(encoder, many(), tmp_path, OPTIONS))


@pytest.mark.usefixtures("small_shards")
def test_parts_share_the_work(encoder: LatentEncoder, tmp_path: Path) -> None:
    options = replace(OPTIONS, shard_mb=1)
    one, two = many(), many()
    list(encode_dataset(encoder, one, tmp_path, options, part=1, parts=2))
    list(encode_dataset(encoder, two, tmp_path, options, part=0, parts=2))
    assert not set(one.reads) & set(two.reads)
    assert len(LatentCache.open(tmp_path, encoder.autoencoder_hash)) == 24
    with pytest.raises(InvalidRequest, match="part is 2"):
        next(encode_dataset(encoder, one, tmp_path, options, part=2, parts=2))


def test_another_autoencoder_can_not_continue(encoder: LatentEncoder, tmp_path: Path) -> None:
    filled(encoder, Sounds({"a": noise(800)}), tmp_path)
    other = LatentEncoder(oobleck(seed=1), AUDIO)
    with pytest.raises(CheckpointError, match="another autoencoder") as caught:
        next(encode_dataset(other, Sounds({"a": noise(800)}), tmp_path, OPTIONS))
    for digest in (encoder.autoencoder_hash, other.autoencoder_hash):
        assert digest[:12] in str(caught.value)
        assert digest not in str(caught.value)


def test_other_settings_or_data_can_not_continue(encoder: LatentEncoder, tmp_path: Path) -> None:
    sounds = Sounds({"a": noise(800)})
    filled(encoder, sounds, tmp_path)
    with pytest.raises(CheckpointError, match=r"other settings \(dtype, seed\)"):
        next(encode_dataset(encoder, sounds, tmp_path, replace(OPTIONS, dtype="float16", seed=1)))
    with pytest.raises(CheckpointError, match="another dataset"):
        next(encode_dataset(encoder, Sounds({"a": noise(808)}), tmp_path, OPTIONS))
    threads = replace(OPTIONS, threads=1)
    assert next(encode_dataset(encoder, sounds, tmp_path, threads)).done == 1


def test_a_folder_with_other_files_is_left_alone(encoder: LatentEncoder, tmp_path: Path) -> None:
    (tmp_path / "shard-0001.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"holds other files \(shard-0001"):
        next(encode_dataset(encoder, Sounds({"a": noise(800)}), tmp_path, OPTIONS))


def test_a_file_that_can_not_be_read_is_named_and_counted(
    encoder: LatentEncoder, tmp_path: Path
) -> None:
    sounds = Sounds({"a": noise(800), "torn.wav": None, "b": noise(900)})
    *_, last = encode_dataset(encoder, sounds, tmp_path, OPTIONS)
    assert (last.done, last.bad) == (3, 1)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["bad"] == [{"path": "torn.wav", "reason": "torn.wav is damaged"}]
    assert (report["recordings"], report["usable"]) == (3, 2)
    cache = LatentCache.open(tmp_path, encoder.autoencoder_hash)
    assert [record.id for record in cache] == ["a", "b"]
    assert cache.bad == (("torn.wav", "torn.wav is damaged"),)
    *_, again = encode_dataset(encoder, sounds, tmp_path, OPTIONS)
    assert again.bad == 1


def test_a_few_bad_headers_are_counted(encoder: LatentEncoder, tmp_path: Path) -> None:
    sounds = Sounds({f"{i}": noise(80 if i else 0) for i in range(30)})

    def info(i: int) -> SoundInfo:
        if i == 0:
            raise InvalidRequest("0 holds no samples")
        return SoundInfo(80, RATE, 2)

    sounds.info = info
    *_, last = encode_dataset(encoder, sounds, tmp_path, OPTIONS)
    assert (last.done, last.total, last.bad) == (29, 29, 1)
    assert LatentCache.open(tmp_path, encoder.autoencoder_hash).report().total == 30


def test_nothing_usable_stops(encoder: LatentEncoder, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none of the 1 recordings can be used.*torn"):
        list(encode_dataset(encoder, Sounds({"torn": None}), tmp_path, OPTIONS))


def test_a_wrong_rate_stops_before_encoding(encoder: LatentEncoder, tmp_path: Path) -> None:
    sounds = Sounds({"a": noise(800)}, sample_rate=400)
    with pytest.raises(InvalidRequest, match=r"400 Hz.*allow resampling"):
        list(encode_dataset(encoder, sounds, tmp_path, OPTIONS))
    assert json.loads((tmp_path / "report.json").read_text())["bad"][0]["path"] == "a"
    cache = filled(encoder, sounds, tmp_path, replace(OPTIONS, resample=True))
    assert cache.record(0).seconds == 2.0
    assert cache.record(0).num_frames == 200


def test_a_full_disk_is_found_before_encoding(
    encoder: LatentEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = many()
    monkeypatch.setattr(encode.shutil, "disk_usage", lambda path: SimpleNamespace(free=40_000))
    with pytest.raises(ResourceError, match=r"need about \d.* [KM]iB, 39\.1 KiB are free"):
        next(encode_dataset(encoder, sounds, tmp_path, OPTIONS))
    assert not sounds.reads


def test_the_space_is_estimated_well(encoder: LatentEncoder, tmp_path: Path) -> None:
    sounds = Sounds({f"{i}.wav": noise(8_000 + 900 * i, seed=i) for i in range(5)})
    plan = encode.make_plan(encoder, sounds, OPTIONS)
    filled(encoder, sounds, tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert sum(plan.shard_bytes) == pytest.approx(size, rel=0.02)


def test_text_is_that_of_the_model(embedded: Auralith, tmp_path: Path) -> None:
    encoder = LatentEncoder.of(embedded)
    sounds = Sounds({"a": noise(44_100), "b": noise(30_000)}, sample_rate=44_100)
    filled(encoder, sounds, tmp_path, EncodeOptions(variants=6))
    cache = LatentCache.open(tmp_path, encoder.autoencoder_hash, encoder.text_hash)
    prompts = cache.record(1).prompts
    assert 1 < len(prompts) <= 6
    assert len(set(prompts)) == len(prompts)
    with torch.inference_mode():
        expected = embedded.conditioner.encode_text(prompts)
    for variant in range(len(prompts)):
        states, mask = cache.text(1, variant)
        torch.testing.assert_close(states, expected.states[variant], rtol=1e-3, atol=1e-3)
        assert torch.equal(mask, expected.mask[variant])


def test_a_reconstruction_is_of_what_was_stored(embedded: Auralith, tmp_path: Path) -> None:
    encoder = LatentEncoder.of(embedded)
    sounds = Sounds({"a": noise(50_000)}, sample_rate=44_100)
    cache = filled(encoder, sounds, tmp_path)
    decoded, original = stored_reconstruction(encoder, cache, sounds, seconds=1.0)
    assert decoded.shape == original.shape == (2, 44_100)
    assert torch.equal(original, noise(50_000)[:, :44_100])
    assert 0.5 < float(decoded.std() / original.std()) < 2
    with pytest.raises(CheckpointError, match="no longer in the dataset"):
        stored_reconstruction(encoder, cache, Sounds({"b": noise(50_000)}))


def test_long_recordings_are_encoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = LatentEncoder(oobleck(), AUDIO)
    whole = encoder.encode(noise(8 * 3_000))
    encoder.codec.tile_frames = 100
    lengths: list[int] = []
    original = encoder.autoencoder.encode

    def counted(waveform: Tensor) -> object:
        lengths.append(waveform.shape[-1] // 8)
        return original(waveform)

    monkeypatch.setattr(encoder.autoencoder, "encode", counted)
    tiled = encoder.encode(noise(8 * 3_000))
    assert len(lengths) > 30
    assert max(lengths) <= 100 + 2 * encoder.tail_frames
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)
    assert encoder.codec.encode(noise(80)[None]).mean.shape[-1] == 10


def test_a_hash_knows_values_and_not_their_format() -> None:
    network = oobleck().half()
    rounded = weights_hash(network)
    assert weights_hash(network.float()) == rounded
    next(network.parameters()).flatten()[0] += 1
    assert weights_hash(network) != rounded


def test_the_verb_encodes_and_decodes_one_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        path = tmp_path / "sounds" / f"{index}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.3 * noise(30_000, seed=index).T.numpy(), 44_100)
        path.with_suffix(".txt").write_text(f"noise number {index}")
    sounds, latents = str(tmp_path / "sounds"), str(tmp_path / "latents")
    assert run(["encode", sounds, "-o", latents, "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "latents")
    assert "SI-SDR" in captured.err
    assert (tmp_path / "latents" / "cache.json").exists()

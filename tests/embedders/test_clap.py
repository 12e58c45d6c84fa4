"""CLAP with small random networks: our front end against transformers', and what its own does otherwise."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from conftest import relative_error
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from auralith.embedders import Embedder, open_embedder
from auralith.embedders.clap import FRONT_END, Clap
from auralith.embedders.clap_front import (
    MAX_FRAMES,
    MAX_SAMPLES,
    SAMPLE_RATE,
    crop_starts,
    filled,
    fusion,
    log_mel,
    through_int16,
)
from auralith.errors import AudioError, CheckpointError
from scripts.random_weights import small_clap

NAMES = ("clap-fused", "clap-unfused")
WORDS = "rain on a tin roof dog barks far away piano".split()
# float32 through two dozen layers, from mel powers that both round once; measured 2e-6
TOLERANCE = 1e-5


def tiny_config(fused: bool) -> dict[str, Any]:
    config = small_clap(fused=fused)
    config["text_config"]["vocab_size"] = 40
    return config


def tiny_model(fused: bool) -> Any:
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(int(fused))
    model = ClapModel(ClapConfig.from_dict(tiny_config(fused))).eval()
    for name, values in model.state_dict().items():
        if "batch_norm" in name and name.endswith("running_mean"):
            values.fill_(-30)  # dB, as trained ones are
        elif "batch_norm" in name and name.endswith("running_var"):
            values.fill_(400)
        elif values.is_floating_point() and values.ndim > 1:
            values.mul_(10)  # so that different sounds give different rows
    return model


def write_folder(folder: Path, fused: bool) -> Path:
    """A folder as the Hub has it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import RobertaProcessing

    folder.mkdir(parents=True)
    config = tiny_config(fused)
    (folder / "config.json").write_text(json.dumps(config))
    settings = FRONT_END | {"truncation": "fusion" if fused else "rand_trunc"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    vocabulary = {w: i for i, w in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    named["tokenizer_class"] = "RobertaTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    state = {n: v.contiguous() for n, v in tiny_model(fused).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("clap")
    return {name: write_folder(root / name, name == NAMES[0]) for name in NAMES}


@pytest.fixture(scope="module")
def embedders(folders: dict[str, Path]) -> dict[str, Clap]:
    found = {name: open_embedder(name, folder, "cpu") for name, folder in folders.items()}
    assert all(isinstance(e, Clap) and isinstance(e, Embedder) for e in found.values())
    return found  # pyright: ignore[reportReturnType]


def noise(samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    fade = torch.linspace(0.1, 1, samples)
    return 0.3 * fade * torch.randn(1, samples, generator=generator).clamp(-3, 3)


def prepared(waveform: Tensor) -> Tensor:
    """Level and rounding of 16 bits by their definitions."""
    scaled = waveform[0] * (10 ** (-1 / 20) / float(waveform.abs().max()))
    return torch.from_numpy(
        (scaled.numpy() * np.float32(32_767)).astype(np.int16) / np.float32(32_767)
    )


def theirs(name: str, waveform: Tensor, seed: int, is_longer: bool) -> Tensor:
    """transformers' own features and network, with our crops instead of its own and the truth about the length."""
    from transformers import ClapFeatureExtractor

    fused = name == "clap-fused"
    extractor = ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="fusion" if fused else "rand_trunc"
    )
    samples = prepared(waveform).numpy()
    starts = iter(crop_starts(1 + len(samples) // 480, seed)) if is_longer else iter(())
    with patch("numpy.random.choice", lambda _: next(starts)):
        inputs = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
    assert len(list(starts)) == 0
    mels, longer = inputs["input_features"].float(), torch.tensor([[is_longer]])
    output = tiny_model(fused).get_audio_features(mels, is_longer=longer)
    return output.pooler_output.detach()


@pytest.mark.parametrize("samples", [600, 100_000, 479_999, 480_000, 480_001, 480_479])
def test_up_to_ten_seconds_equals_transformers(embedders: dict[str, Clap], samples: int) -> None:
    waveform = noise(samples)
    found = embedders["clap-fused"].embed(waveform, SAMPLE_RATE)
    assert relative_error(found, theirs("clap-fused", waveform, 0, False)) <= TOLERANCE
    if samples <= MAX_SAMPLES:
        unfused = embedders["clap-unfused"].embed(waveform, SAMPLE_RATE)
        assert relative_error(unfused, theirs("clap-unfused", waveform, 0, False)) <= TOLERANCE


@pytest.mark.parametrize(("samples", "seed"), [(480_480, 0), (481_000, 1), (700_000, 2)])
def test_fusion_equals_transformers_with_the_same_crops(
    embedders: dict[str, Clap], samples: int, seed: int
) -> None:
    waveform = noise(samples)
    found = embedders["clap-fused"].embed(waveform, SAMPLE_RATE, seed)
    assert relative_error(found, theirs("clap-fused", waveform, seed, True)) <= TOLERANCE


@pytest.mark.parametrize(
    ("samples", "is_longer"),
    [
        (1, False),
        (479_999, False),
        (480_000, False),
        (480_001, False),
        (480_479, False),
        (480_480, True),
    ],
)
def test_where_longer_begins(samples: int, is_longer: bool) -> None:
    item = fusion(noise(samples)[0], 0)
    assert item.mels.shape == (4, MAX_FRAMES, 64)
    assert item.is_longer.tolist() == [is_longer]
    same = all(torch.equal(item.mels[0], mel) for mel in item.mels[1:])
    assert same != is_longer


def test_the_same_seed_gives_the_same_crops_whatever_else_is_random(
    embedders: dict[str, Clap],
) -> None:
    waveform = noise(900_000)
    rows = []
    for seed in (1, 1, 2, 3):
        np.random.seed(len(rows))  # noqa: NPY002
        torch.manual_seed(len(rows))
        rows.append(embedders["clap-fused"].embed(waveform, SAMPLE_RATE, seed))
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2]) and not torch.equal(rows[2], rows[3])


def test_batch_independence(embedders: dict[str, Clap]) -> None:
    """A sound's row is the same before and after others, longer ones among them."""
    clap, sounds = embedders["clap-fused"], [noise(n, n) for n in (50_000, 600_000, 480_000)]
    alone = [clap.embed(sound, SAMPLE_RATE, 7) for sound in sounds]
    again = [clap.embed(sound, SAMPLE_RATE, 7) for sound in reversed(sounds)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(alone, again, strict=True))


@given(st.integers(1_002, 6_000), st.integers(0, 2**31))
def test_crops_lie_in_their_thirds(num_frames: int, seed: int) -> None:
    starts = crop_starts(num_frames, seed)
    thirds = np.array_split(np.arange(num_frames - 1_001 + 1), 3)
    for start, third in zip(starts, thirds, strict=True):
        assert start in third if len(third) else start == 0
        assert start + MAX_FRAMES <= num_frames


def test_every_crop_is_drawn() -> None:
    drawn = {tuple(crop_starts(1_006, seed)) for seed in range(300)}
    assert {start for starts in drawn for start in starts} == set(range(6))


def test_rounding_is_toward_zero() -> None:
    samples = torch.tensor([0.0, 1.9, -1.9, 0.99, -0.99, 32_767.0, -32_767.0]) / 32_767
    found = through_int16(samples) * 32_767
    assert found.round().tolist() == [0, 1, -1, 0, 0, 32_767, -32_767]
    assert through_int16(torch.tensor([2.0, -3.0])).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("samples", "times"), [(1, 480_000), (200_000, 2), (240_001, 1), (480_000, 1)]
)
def test_short_sound_is_repeated_whole(samples: int, times: int) -> None:
    waveform = 1 + torch.rand(samples)
    found = filled(waveform)
    assert torch.equal(found[: samples * times], waveform.repeat(times))
    assert not found[samples * times :].any() and len(found) == MAX_SAMPLES


@pytest.mark.parametrize("slaney", [False, True])
def test_bands_begin_at_50_hz_and_end_at_14_khz(slaney: bool) -> None:
    """Tones on bins, which Hann's window leaves in their own bin and its neighbors; bins are 46.875 Hz apart."""
    time = torch.arange(SAMPLE_RATE, dtype=torch.float64) / SAMPLE_RATE
    for hz, heard in ((0, False), (93.75, True), (13_500, True), (15_000, False)):
        tone = log_mel(torch.cos(2 * torch.pi * hz * time), slaney=slaney)[40:60]
        assert (float(tone.max()) > -99) == heard, hz


def test_unfused_windows(embedders: dict[str, Clap]) -> None:
    waveform = noise(47 * SAMPLE_RATE)
    rows = embedders["clap-unfused"].embed(waveform, SAMPLE_RATE)
    assert rows.shape == (9, 12)
    assert torch.equal(rows, embedders["clap-unfused"].embed(waveform, SAMPLE_RATE, 5))


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_length_one_and_do_not_know_the_level(
    embedders: dict[str, Clap], name: str
) -> None:
    waveform = noise(100_000)
    found = embedders[name].embed(waveform, SAMPLE_RATE)
    assert relative_error(found.norm(dim=1), torch.ones(1)) < 1e-6
    assert torch.equal(found, embedders[name].embed(waveform / 4, SAMPLE_RATE))
    assert torch.equal(found, embedders[name].embed(waveform.repeat(2, 1), SAMPLE_RATE))
    assert found.dtype == torch.float32 and embedders[name].dim == found.shape[1]


def test_text_equals_transformers(embedders: dict[str, Clap], folders: dict[str, Path]) -> None:
    texts = ["rain on a roof", "piano", " ".join(WORDS * 20), ""]
    found = embedders["clap-fused"].embed_text(texts)
    ids = torch.ones(len(texts), 77, dtype=torch.long)
    numbers = {word: 4 + i for i, word in enumerate(WORDS)}
    for row, text in zip(ids, texts, strict=True):
        words = [numbers[word] for word in text.split()][:75]
        row[: len(words) + 2] = torch.tensor([0, *words, 2])
    output = tiny_model(True).get_text_features(ids, attention_mask=(ids != 1).long())
    assert relative_error(found, output.pooler_output) <= TOLERANCE
    assert torch.equal(found[1:2], embedders["clap-fused"].embed_text(["piano"]))
    assert embedders["clap-fused"].embed_text([]).shape == (0, 12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frequency_min", 0),
        ("frequency_max", 16_000),
        ("truncation", "none"),
        ("top_db", 80),
        ("hop_length", None),
    ],
)
def test_other_front_ends_are_refused(
    folders: dict[str, Path], tmp_path: Path, name: str, key: str, value: object
) -> None:
    copy = write_folder(tmp_path / name, name == NAMES[0])
    settings = json.loads((copy / "preprocessor_config.json").read_text()) | {key: value}
    (copy / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=f"has {key} = "):
        open_embedder(name, copy, "cpu")


def damaged_folders() -> list[tuple[str, dict[str, Any], str]]:
    return [
        ("config.json", {"model_type": "t5"}, "is not a config of CLAP"),
        ("config.json", {"projection_dim": 13}, "does not fit its config"),
        (
            "config.json",
            {"projection_dim": 10**9},
            "'projection_dim' is 1000000000, 131,072 at most",
        ),
        ("config.json", {"audio_config": {"depths": [65]}}, "'depths' is"),
        ("config.json", {"text_config": {"num_hidden_layers": 10**6}}, "64 at most"),
        ("config.json", {"text_config": 3}, "is not a config of CLAP"),
    ]


@pytest.mark.parametrize(("file", "changes", "message"), damaged_folders())
def test_damaged_configs(tmp_path: Path, file: str, changes: dict[str, Any], message: str) -> None:
    copy = write_folder(tmp_path / "clap", True)
    (copy / file).write_text(json.dumps(json.loads((copy / file).read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        open_embedder("clap-fused", copy, "cpu")


def test_weights_load_strictly(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    copy = write_folder(tmp_path / "clap", True)
    state = load_file(copy / "model.safetensors")
    del state["logit_scale_a"]
    save_file(state, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="1 missing"):
        open_embedder("clap-fused", copy, "cpu")
    save_file(
        state | {"more": torch.ones(1), "logit_scale_a": torch.ones(())}, copy / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match="1 unexpected"):
        open_embedder("clap-fused", copy, "cpu")


class Evil:
    """Would run a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"open({str(self.mark)!r}, 'w')",)


def test_pickled_weights_with_code_are_refused(tmp_path: Path, embedders: dict[str, Clap]) -> None:
    copy = write_folder(tmp_path / "clap", True)
    (copy / "model.safetensors").unlink()
    torch.save({"state": Evil(tmp_path / "ran")}, copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="could run code"):
        open_embedder("clap-fused", copy, "cpu")
    assert not (tmp_path / "ran").exists()
    torch.save(tiny_model(True).state_dict(), copy / "pytorch_model.bin")
    found = open_embedder("clap-fused", copy, "cpu").embed(noise(50_000), SAMPLE_RATE)
    assert torch.equal(found, embedders["clap-fused"].embed(noise(50_000), SAMPLE_RATE))


def test_the_other_clap_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match="truncation = 'rand_trunc', not fusion"):
        open_embedder("clap-fused", folders["clap-unfused"], "cpu")


def test_unusable_sounds(embedders: dict[str, Clap]) -> None:
    antiphase = torch.cat([noise(50_000), -noise(50_000)])
    for waveform in (torch.zeros(1, 50_000), antiphase):
        with pytest.raises(AudioError, match="silent"):
            embedders["clap-fused"].embed(waveform, SAMPLE_RATE)

"""SAME against the reference's numbers; tiles and slices against the whole; what a frame depends on, by gradients."""

import json
from dataclasses import replace
from itertools import product

import pytest
import torch
from rounding import DECODED
from safetensors.torch import load_file
from torch import Tensor

from auralith.checkpoints import open_autoencoder
from auralith.families.model_config import spec_from_json
from auralith.models import same
from auralith.models.latent_codec import LatentCodec
from auralith.models.same import Same, reference_chunks
from auralith.network_config import SameConfig, SameNetworkConfig
from tests.conftest import GOLDEN, relative_error

FOLDER = GOLDEN / "sa3"
TINY = ("same_s_tiny", "same_l_tiny")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(FOLDER / "codec.safetensors")


@pytest.fixture(scope="module", params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def codec(name: str) -> Same:
    cpu = torch.device("cpu")
    found = open_autoencoder(FOLDER / name, device=cpu, dtype=torch.float32).autoencoder
    assert isinstance(found, Same)
    return found


class Draws:
    """The draws of a golden case, in their order."""

    def __init__(self, golden: dict[str, Tensor], case: str) -> None:
        names = [n for n in golden if n.startswith(f"{case}.draw.")]
        self.left = [golden[n] for n in sorted(names)]

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        drawn = self.left.pop(0)
        assert drawn.shape == shape
        return drawn


def silence(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
@pytest.mark.parametrize("samples", [1024, 1324])
def test_both_networks_equal_the_reference(
    codec: Same, name: str, golden: dict[str, Tensor], samples: int
) -> None:
    case = f"{name}.noise_free_{samples}"
    audio, latents = golden[f"{case}.audio"], golden[f"{case}.out.latents"]
    missing = latents.shape[-1] * codec.samples_per_frame - samples
    encoded = codec.encode(torch.nn.functional.pad(audio, (0, missing)))
    assert relative_error(encoded.mean, latents) <= 1e-5
    assert not encoded.std.any()
    assert relative_error(codec.decode(latents), golden[f"{case}.out.audio"]) <= 1e-5
    assert relative_error(codec.encode_as_reference(audio, silence), latents) <= 1e-5


@torch.inference_mode()
def test_noise_is_drawn_as_in_the_reference(
    codec: Same, name: str, golden: dict[str, Tensor]
) -> None:
    for case, run, given, made in (
        ("encode_noisy", codec.encode_as_reference, "audio", "latents"),
        ("decode_noisy", codec.decode_as_reference, "latents", "audio"),
    ):
        draws = Draws(golden, f"{name}.{case}")
        found = run(golden[f"{name}.{case}.{given}"], draws)
        assert relative_error(found, golden[f"{name}.{case}.out.{made}"]) <= 1e-5
        assert not draws.left


@torch.inference_mode()
def test_chunks_are_those_of_the_reference(
    codec: Same, name: str, golden: dict[str, Tensor]
) -> None:
    case = f"{name}.chunked"
    whole, chunked = golden[f"{case}.out.latents_whole"], golden[f"{case}.out.latents_chunked"]
    encoded = codec.encode_as_reference(golden[f"{case}.audio"], silence, 32, 8)
    assert relative_error(encoded, chunked) <= 1e-5
    decoded = codec.decode_as_reference(whole, silence, 32, 8)
    assert relative_error(decoded, golden[f"{case}.out.audio_chunked"]) <= 1e-5
    assert relative_error(codec.decode(whole), golden[f"{case}.out.audio_whole"]) <= 1e-5


def test_chunks_of_thirty_seconds() -> None:
    """388 frames start chunks at 0, 96, 192 and 260, and are cut in the middle of what neighbors share."""
    assert list(reference_chunks(388, 128, 32)) == [
        (0, 0, 112),
        (96, 112, 208),
        (192, 208, 276),
        (260, 276, 388),
    ]
    assert list(reference_chunks(128, 128, 32)) == [(0, 0, 128)]


@torch.inference_mode()
@pytest.mark.parametrize("tile", [3, 8])
def test_tiles_equal_the_whole(codec: Same, tile: int) -> None:
    """At every length of tiles, also such that begin between the frames of a chunk."""
    latents = noise(1, 8, 19)
    waveform = noise(1, 2, 19 * codec.samples_per_frame + 5)
    whole, encoded = codec.decode(latents), codec.encode(waveform).mean
    tiled = LatentCodec(codec, tile_frames=tile)
    assert relative_error(tiled.decode(latents), whole) <= DECODED
    assert relative_error(tiled.encode(waveform).mean, encoded) <= DECODED
    pieces = list(tiled.pieces(latents, tile))
    assert len(pieces) == -(-19 // tile)
    assert relative_error(torch.cat(pieces, -1), whole) <= DECODED


@torch.inference_mode()
def test_the_frames_that_are_needed_are_enough(codec: Same) -> None:
    latents, tiled = noise(1, 8, 24), LatentCodec(codec)
    whole = codec.decode(latents)
    for wanted in range(1, 7):
        needed = tiled.frames_needed(wanted, 24)
        samples = wanted * codec.samples_per_frame
        found = codec.decode(latents[..., :needed])[..., :samples]
        assert relative_error(found, whole[..., :samples]) <= DECODED


@pytest.mark.parametrize("frame", [16, 17])
def test_halos_are_what_gradients_reach(codec: Same, name: str, frame: int) -> None:
    rate, group = codec.samples_per_frame, codec.frame_group
    latents = noise(1, 8, 34).requires_grad_()
    codec.decode(latents)[..., frame * rate : (frame + 1) * rate].square().sum().backward()
    waveform = noise(1, 2, 34 * rate).requires_grad_()
    codec.encode(waveform).mean[..., frame].square().sum().backward()
    for found, step, halo in (
        (latents, 1, codec.decoder_halo),
        (waveform, rate, codec.encoder_halo),
    ):
        assert found.grad is not None
        reached = found.grad.abs().sum((0, 1)).nonzero().flatten() // step
        first, last = int(reached.min()), int(reached.max())
        assert frame - halo - group < first and last < frame + halo + group
        assert last - first + 1 >= (4 if name == "same_s_tiny" else 2 * halo - 1)


@torch.inference_mode()
def test_slices_equal_the_whole(codec: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that a CPU takes through a block at once change nothing."""
    latents, waveform = noise(1, 8, 11), noise(2, 2, 11 * codec.samples_per_frame)
    expected = codec.decode(latents), codec.encode(waveform).mean
    for rows in (17, 70):
        monkeypatch.setattr(same, "SLICE_ROWS", rows)
        assert relative_error(codec.decode(latents), expected[0]) <= DECODED
        assert relative_error(codec.encode(waveform).mean, expected[1]) <= DECODED


def test_gradients_do_not_depend_on_the_way_of_computing(codec: Same) -> None:
    """The band's padding leaves numbers: every weight has a finite gradient."""
    waveform = noise(1, 2, 5 * codec.samples_per_frame)
    copied = Same(codec.config)
    copied.load_state_dict(codec.state_dict(), strict=True)
    copied.decode(copied.encode(waveform).mean).square().mean().backward()
    for parameter in copied.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@torch.inference_mode()
@pytest.mark.parametrize("num_frames", [6, 10])
def test_a_circle_closes(codec: Same, num_frames: int) -> None:
    """One turn of a circle is the middle of three."""
    latents, rate = noise(1, 8, num_frames), codec.samples_per_frame
    turns = codec.decode(latents.repeat(1, 1, 3))
    middle = turns[..., num_frames * rate : 2 * num_frames * rate]
    assert relative_error(codec.decode_circular(latents), middle) <= DECODED
    tiled = LatentCodec(codec, tile_frames=4)
    assert relative_error(tiled.decode_circular(latents), middle) <= DECODED


def plain_attention(network: same.DifferentialAttention, x: Tensor, reach: int | None) -> Tensor:
    """The formula with all scores as one matrix."""
    heads = network.num_heads
    query, key, value, other_query, other_key = (
        network.qkv(x).unflatten(-1, (5, heads, -1)).unbind(2)
    )
    rotary = same.rotary_table(x.shape[1], value.shape[-1] // 2, x.device)
    outs = []
    for q, k in ((query, key), (other_query, other_key)):
        q = same.rotate(network.q_norm(q).transpose(1, 2), rotary)
        k = same.rotate(network.k_norm(k).transpose(1, 2), rotary)
        scores = q @ k.transpose(-1, -2) / value.shape[-1] ** 0.5
        index = torch.arange(x.shape[1])
        if reach is not None:
            far = (index[:, None] - index).abs() > reach
            scores = scores.masked_fill(far, -torch.inf)
        outs.append(scores.softmax(-1) @ value.transpose(1, 2))
    return network.out((outs[0] - outs[1]).transpose(1, 2).flatten(-2))


@torch.inference_mode()
@pytest.mark.parametrize("rows", [2, 17, 68, 69, 150])
@pytest.mark.parametrize("reach", [None, 5, 17])
def test_attention_in_blocks_equals_one_matrix(rows: int, reach: int | None) -> None:
    config = SameNetworkConfig(width=64, head_dim=32)
    torch.manual_seed(1)
    network = same.DifferentialAttention(config, reach)
    x = noise(2, rows, 64)
    rotary = same.rotary_table(rows, config.rotary_dim, x.device)
    expected = plain_attention(network, x, reach)
    assert relative_error(network(x, rotary), expected) <= 1e-5
    assert relative_error(network(x, rotary, slice(0, None, 3)), expected[:, ::3]) <= 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_drifts_little(codec: Same, dtype: torch.dtype) -> None:
    copied = Same(codec.config)
    copied.load_state_dict(codec.state_dict(), strict=True)
    copied = copied.to(dtype)
    latents = noise(1, 8, 12)
    expected = codec.decode(latents)
    found = copied.decode(latents.to(dtype))
    assert found.dtype is dtype
    drift = float((found.float() - expected).norm() / expected.norm())
    assert drift <= 8 * torch.finfo(dtype).eps * codec.config.decoder.depth


@pytest.mark.parametrize(("name", "count"), [("SAME-S", 108_244_721), ("SAME-L", 852_127_457)])
def test_the_published_shapes_and_lengths(name: str, count: int) -> None:
    data = json.loads((FOLDER / f"{name}.model_config.json").read_bytes())
    config = spec_from_json(data).autoencoder
    assert isinstance(config, SameConfig)
    with torch.device("meta"):
        codec = Same(config)
        latents = codec.encode(torch.zeros(1, 2, 10 * 4_096)).mean
        assert latents.shape == (1, 256, 10)
        assert codec.decode(latents).shape == (1, 2, 10 * 4_096)
    assert (codec.decoder_halo, codec.frame_group) == ((2, 2) if name == "SAME-S" else (12, 1))
    if name == "SAME-S":
        assert config == SameConfig()
    sines = [m.sine for m in codec.decoder.modules() if isinstance(m, same.FeedForward)]
    assert sines == [False] * 6 if name == "SAME-S" else [False] * 5 + [True] * 7
    # convolutions have a norm per row as published, and there are tensors that are never trained
    published = sum(p.numel() for p in codec.state_dict().values())
    norms = sum(side.mapping.weight.shape[0] for side in (codec.encoder, codec.decoder))
    rotary = 16 * (config.encoder.depth + config.decoder.depth)
    assert published + norms + rotary == count


def test_other_spans_than_the_published_tile_exactly() -> None:
    """Chunks of four frames and bands of two, together with a convolution that sees its neighbors."""
    torch.manual_seed(2)
    for attention, kernel in product(("chunks", "band"), (1, 3)):
        side = SameNetworkConfig(
            width=32, depth=3, head_dim=16, attention=attention, chunk_frames=4, window_frames=2
        )
        side = replace(side, kernel_size=kernel)
        codec = Same(SameConfig(1, 4, 8, 4, side, side))
        for norm in codec.modules():
            if isinstance(norm, same.DynamicTanh):
                torch.nn.init.normal_(norm.scale)
        with torch.inference_mode():
            latents, waveform = noise(1, 4, 31), noise(1, 1, 31 * 32)
            tiled = LatentCodec(codec, tile_frames=7)
            assert relative_error(tiled.decode(latents), codec.decode(latents)) <= DECODED
            expected = codec.encode(waveform).mean
            assert relative_error(tiled.encode(waveform).mean, expected) <= DECODED

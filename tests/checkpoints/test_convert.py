"""One layout into another and back: every value bit for bit, and diffusers agrees with what we wrote."""

import json
import shutil
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import convert, inspect_checkpoint, open_autoencoder, open_checkpoint
from auralith.config import ModelConfig
from auralith.errors import CheckpointError
from auralith.text.tokenizer_files import tokenizer_limit
from tests.conftest import GOLDEN, relative_error

CPU = torch.device("cpu")
TINY = GOLDEN / "sao_tiny"


@pytest.fixture(scope="module")
def diffusers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("convert") / "diffusers"
    convert(TINY, out, "diffusers")
    return out


def assert_same_tensors(first: Path, second: Path) -> None:
    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys()
    assert all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


def tiny_config() -> ModelConfig:
    config = inspect_checkpoint(TINY).spec.model
    assert config is not None
    return config


def test_single_file_to_diffusers_and_back(diffusers_folder: Path, tmp_path: Path) -> None:
    convert(diffusers_folder, tmp_path / "back")
    assert_same_tensors(tmp_path / "back/model.safetensors", TINY / "model.safetensors")
    assert inspect_checkpoint(tmp_path / "back").spec.model == tiny_config()
    again = tmp_path / "again"
    convert(tmp_path / "back", again, "diffusers")
    for path in sorted(diffusers_folder.rglob("*.safetensors")):
        assert_same_tensors(path, again / path.relative_to(diffusers_folder))
    for path in sorted(diffusers_folder.rglob("*.json")):
        assert path.read_bytes() == (again / path.relative_to(diffusers_folder)).read_bytes()


def test_both_layouts_open_as_the_same_model(diffusers_folder: Path) -> None:
    found = open_checkpoint(diffusers_folder, device=CPU, dtype=torch.float32)
    expected = open_checkpoint(TINY, device=CPU, dtype=torch.float32)
    assert found.config == expected.config
    for part in ("dit", "numbers", "autoencoder", "text.model"):
        reference = attrgetter(part)(expected).state_dict()
        state = attrgetter(part)(found).state_dict()
        assert all(torch.equal(state[name], reference[name]) for name in reference)
    assert tokenizer_limit(diffusers_folder / "tokenizer", 0) == 32


def test_single_file_wins_where_both_layouts_lie(diffusers_folder: Path, tmp_path: Path) -> None:
    both = Path(shutil.copytree(diffusers_folder, tmp_path / "both"))
    shutil.copytree(TINY, both, dirs_exist_ok=True)
    assert inspect_checkpoint(both).layout == "single-file"
    (both / "model.safetensors").unlink()
    assert inspect_checkpoint(both).layout == "diffusers"


def test_diffusers_transformer_and_projection_agree(diffusers_folder: Path) -> None:
    from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
    from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel

    golden = load_file(TINY / "golden.safetensors")
    transformer = StableAudioDiTModel.from_pretrained(diffusers_folder / "transformer").eval()
    projection = StableAudioProjectionModel.from_pretrained(diffusers_folder / "projection_model")
    ours = open_checkpoint(diffusers_folder, device=CPU, dtype=torch.float32)
    frames = golden["dit.x"].shape[-1]
    with torch.inference_mode():
        out = transformer(
            golden["dit.x"],
            golden["dit.t"],
            encoder_hidden_states=golden["cond.context"],
            global_hidden_states=golden["cond.global"][:, None],
            rotary_embedding=rotary(tiny_config().dit.head_dim // 2, frames + 1),
        ).sample
        mine = ours.dit(
            golden["dit.x"], golden["dit.t"], golden["cond.context"], golden["cond.global"]
        )
        seconds = golden["cond.seconds"]
        embedded = projection(None, seconds, seconds).seconds_end_hidden_states
    assert relative_error(out, mine) <= 1e-5
    assert relative_error(embedded, golden["cond.seconds_embedding"]) <= 1e-5


def rotary(dim: int, length: int) -> tuple[Tensor, Tensor]:
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    cos, sin = get_1d_rotary_pos_embed(dim, length, use_real=True, repeat_interleave_real=False)
    return cos, sin


def test_diffusers_decoder_agrees(diffusers_folder: Path) -> None:
    """The decoder alone: the tiny encoder has a width that diffusers' autoencoder can't have."""
    from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDecoder

    golden = load_file(TINY / "golden.safetensors")
    config = json.loads((diffusers_folder / "vae/config.json").read_bytes())
    decoder = OobleckDecoder(
        channels=config["decoder_channels"],
        input_channels=config["decoder_input_channels"],
        audio_channels=config["audio_channels"],
        upsampling_ratios=config["downsampling_ratios"][::-1],
        channel_multiples=config["channel_multiples"],
    ).eval()
    state = load_file(diffusers_folder / "vae/diffusion_pytorch_model.safetensors")
    decoder.load_state_dict(
        {n.removeprefix("decoder."): t for n, t in state.items() if n.startswith("decoder.")}
    )
    with torch.inference_mode():
        decoded = decoder(golden["vae.latents"])
    assert relative_error(decoded, golden["vae.decoded"]) <= 1e-5


def test_diffusers_autoencoder_of_the_published_shape_agrees(tmp_path: Path) -> None:
    """Encoder and decoder, with an encoder that is twice the latent channels wide, as the published one is."""
    from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck

    from auralith.checkpoints import Spec, save_single_file
    from auralith.config import AudioFormat, DiTConfig, OobleckConfig
    from auralith.families.registry import Networks

    config = ModelConfig(
        audio=AudioFormat(latent_channels=2),
        window_samples=32_768,
        autoencoder=OobleckConfig(latent_channels=2, encoder_width=4, decoder_width=6),
        dit=DiTConfig(
            latent_channels=2, embed_dim=64, depth=1, num_heads=1, context_dim=64, global_dim=128
        ),
        condition_dim=64,
    )
    networks = Networks(Spec.of(config)).eval()
    save_single_file(
        tmp_path / "ours",
        config,
        dit=networks.dit.state_dict(),
        numbers=networks.numbers.state_dict(),
        autoencoder=networks.autoencoder.state_dict(),
    )
    convert(tmp_path / "ours", tmp_path / "theirs", "diffusers", text_encoder=TINY / "t5")
    theirs = AutoencoderOobleck.from_pretrained(tmp_path / "theirs/vae").eval()
    waveform = torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        posterior = networks.autoencoder.encode(waveform)
        (encoded,) = theirs.encode(waveform, return_dict=False)
        decoded = theirs.decoder(posterior.mean)
        assert relative_error(encoded.mean, posterior.mean) <= 1e-5
        assert relative_error(encoded.std, posterior.std) <= 1e-5
        assert relative_error(decoded, networks.autoencoder.decode(posterior.mean)) <= 1e-5


# --- relatives of the diffusers layout ---


def test_variant_and_sharded_weights(diffusers_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(diffusers_folder, tmp_path / "variant"))
    vae, transformer = folder / "vae", folder / "transformer"
    stem = "diffusion_pytorch_model"
    (vae / f"{stem}.safetensors").rename(vae / f"{stem}.fp16.safetensors")
    state = load_file(transformer / f"{stem}.safetensors")
    (transformer / f"{stem}.safetensors").unlink()
    names = sorted(state)
    shards = {
        f"{stem}-00001-of-00002.safetensors": names[:20],
        f"{stem}-00002-of-00002.safetensors": names[20:],
    }
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, transformer / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (transformer / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    convert(folder, tmp_path / "back")
    assert_same_tensors(tmp_path / "back/model.safetensors", TINY / "model.safetensors")
    index["weight_map"]["proj_in.weight"] = "../vae/diffusion_pytorch_model.fp16.safetensors"
    (transformer / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="no index of shards"):
        inspect_checkpoint(folder)


def edited(folder: Path, target: Path, component: str, **values: object) -> Path:
    copy = Path(shutil.copytree(folder, target))
    path = copy / component / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}))
    return copy


def test_fractional_window_is_truncated(diffusers_folder: Path, tmp_path: Path) -> None:
    folder = edited(diffusers_folder, tmp_path / "x", "transformer", sample_size=30.6640625)
    config = inspect_checkpoint(folder).spec.model
    assert config is not None and config.window_frames == 30


@pytest.mark.parametrize(
    ("component", "values", "expected"),
    [
        ("transformer", {"time_proj_dim": 128}, "time_proj.weight': 128, expected 64"),
        ("transformer", {"num_key_value_attention_heads": 2}, "attn2.to_k.weight"),
        ("transformer", {"num_key_value_attention_heads": 3}, "num_attention_heads"),
        ("transformer", {"out_channels": 8}, "out_channels"),
        ("transformer", {"in_channels": 8, "out_channels": 8}, "in_channels"),
        ("transformer", {"norm_eps": 1e-6}, "norm_eps is not supported"),
        ("transformer", {"num_layers": 3}, "missing .first 'transformer.transformer_blocks.2"),
        ("vae", {"decoder_input_channels": 8}, "channels"),
        ("projection_model", {"conditioning_dim": 32}, "cross_attention_input_dim"),
        ("projection_model", {"text_encoder_dim": 32}, "missing .first 'projection_model.text_p"),
        ("projection_model", {"max_value": 0}, "max_value"),
    ],
)
def test_bad_diffusers_configs_are_refused(
    diffusers_folder: Path, tmp_path: Path, component: str, values: dict[str, object], expected: str
) -> None:
    folder = edited(diffusers_folder, tmp_path / "x", component, **values)
    with pytest.raises(CheckpointError, match=expected):
        inspect_checkpoint(folder)


def test_trained_norm_biases_travel(diffusers_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(diffusers_folder, tmp_path / "x"))
    path = folder / "transformer/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["transformer_blocks.1.norm2.bias"] += 0.01
    save_file(state, path)
    convert(folder, tmp_path / "single")
    config = json.loads((tmp_path / "single/model_config.json").read_bytes())
    assert config["model"]["diffusion"]["config"]["norm_kwargs"] == {"bias": True}
    single = load_file(tmp_path / "single/model.safetensors")
    assert (single["model.model.transformer.layers.1.cross_attend_norm.beta"] == 0.01).all()
    convert(tmp_path / "single", tmp_path / "back", "diffusers")
    assert_same_tensors(tmp_path / "back/transformer/diffusion_pytorch_model.safetensors", path)


# --- training checkpoints ---


@pytest.mark.parametrize("config_inside", [True, False])
def test_training_checkpoint_is_unwrapped_with_its_average(
    tmp_path: Path, config_inside: bool
) -> None:
    state = load_file(TINY / "model.safetensors")
    raw = {n: t + 1 if n.startswith("model.model.to_") else t for n, t in state.items()}
    wrapped = {f"diffusion.{name}": tensor for name, tensor in raw.items()}
    for name, tensor in state.items():
        if name.startswith("model."):
            wrapped[f"diffusion_ema.ema_model.{name.removeprefix('model.')}"] = tensor
    wrapped["diffusion_ema.step"] = torch.tensor(10)
    checkpoint: dict[str, object] = {"state_dict": wrapped, "global_step": 3, "loops": {}}
    config = json.loads((TINY / "model_config.json").read_bytes())
    if config_inside:
        checkpoint["model_config"] = config
    else:
        shutil.copy(TINY / "model_config.json", tmp_path)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    assert inspect_checkpoint(tmp_path / "last.ckpt").layout == "training"
    convert(tmp_path / "last.ckpt", tmp_path / "out")
    assert_same_tensors(tmp_path / "out/model.safetensors", TINY / "model.safetensors")
    assert json.loads((tmp_path / "out/model_config.json").read_bytes()) == config


def test_autoencoder_training_checkpoint(tmp_path: Path) -> None:
    prefix = "pretransform.model."
    state = load_file(TINY / "model.safetensors")
    wrapped = {"discriminator.x": torch.zeros(3)}
    for name, tensor in state.items():
        if name.startswith(prefix):
            wrapped[f"autoencoder.{name.removeprefix(prefix)}"] = tensor + 1
            wrapped[f"autoencoder_ema.ema_model.{name.removeprefix(prefix)}"] = tensor
    torch.save({"state_dict": wrapped}, tmp_path / "last.ckpt")
    config = json.loads((TINY / "model_config.json").read_bytes())
    config |= {"model_type": "autoencoder", "model": config["model"]["pretransform"]["config"]}
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    convert(tmp_path / "last.ckpt", tmp_path / "out")
    found = open_autoencoder(tmp_path / "out", device=CPU, dtype=torch.float32).autoencoder
    expected = open_autoencoder(TINY, device=CPU, dtype=torch.float32).autoencoder.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())


# --- refusals ---


def test_small_has_no_diffusers_form(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"rf_denoiser.* has no diffusers form"):
        convert(GOLDEN / "sao_small_tiny", tmp_path / "x", "diffusers")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    convert(TINY, tmp_path / "x")
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="exists already"):
        convert(TINY, tmp_path / "x")
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before

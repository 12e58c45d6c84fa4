"""Opening a checkpoint: the reference's numbers come out, and whatever does not fit is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import (
    Checkpoint,
    Spec,
    inspect_checkpoint,
    open_autoencoder,
    open_checkpoint,
    save_autoencoder,
    save_single_file,
)
from auralith.checkpoints.transform import published_weights
from auralith.config import AudioFormat, DiTConfig, ModelConfig, OobleckConfig, SpectralConfig
from auralith.errors import CheckpointError
from auralith.families.model_config import config_from_json, config_to_json, spec_to_json
from auralith.families.registry import Networks
from auralith.models.dit import Block, DiT
from auralith.tensor_files import safetensors_header
from auralith.text.foreign_tokenizer import open_foreign_tokenizer
from tests.conftest import GOLDEN, relative_error
from tests.networks import dit_config, dit_of

CPU = torch.device("cpu")
TINY = GOLDEN / "sao_tiny"
State = dict[str, Tensor]


def opened(source: Path | str, dtype: torch.dtype = torch.float32) -> Checkpoint:
    return open_checkpoint(source, device=CPU, dtype=dtype)


def refusal(source: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        opened(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("golden.safetensors")
    return Path(shutil.copytree(TINY, tmp_path / "model", ignore=ignored))


@pytest.fixture(scope="module")
def state() -> State:
    return load_file(TINY / "model.safetensors")


# --- the reference's numbers ---


def test_reference_numbers_after_loading(checkpoint: Checkpoint, golden: State) -> None:
    with torch.inference_mode():
        out = checkpoint.dit(
            golden["dit.x"], golden["dit.t"], golden["cond.context"], golden["cond.global"]
        )
        posterior = checkpoint.autoencoder.encode(golden["vae.waveform"])
        decoded = checkpoint.autoencoder.decode(golden["vae.latents"])
        seconds = checkpoint.numbers["seconds_total"](golden["cond.seconds"])
    assert relative_error(out, golden["dit.out"]) <= 1e-5
    assert relative_error(posterior.mean, golden["vae.mean"]) <= 1e-5
    assert relative_error(posterior.std, golden["vae.std"]) <= 1e-5
    assert relative_error(decoded, golden["vae.decoded"]) <= 1e-5
    assert relative_error(seconds, golden["cond.seconds_embedding"]) <= 1e-5


def test_text_encoder_is_the_one_transformers_loads(checkpoint: Checkpoint, tiny_name: str) -> None:
    from transformers import T5EncoderModel

    reference = T5EncoderModel.from_pretrained(GOLDEN / tiny_name / "t5").eval()
    tokens = torch.tensor([checkpoint.text.tokenizer.ids("128 BPM tech house drum loop")])
    with torch.inference_mode():
        expected = reference(input_ids=tokens).last_hidden_state
        found = checkpoint.text.model(tokens, torch.ones_like(tokens))
    assert relative_error(found, expected) <= 1e-5


def test_everything_is_in_eval_mode_and_on_real_memory(checkpoint: Checkpoint) -> None:
    for module in (
        checkpoint.dit,
        checkpoint.autoencoder,
        checkpoint.numbers,
        checkpoint.text.model,
    ):
        assert not any(inner.training for inner in module.modules())
        assert not any(tensor.is_meta for tensor in module.state_dict().values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_frequencies(dtype: torch.dtype) -> None:
    half, full = opened(TINY, dtype), opened(TINY)
    assert dit_of(half.dit).project_in.weight.dtype == half.text.model.dtype == dtype
    assert torch.equal(
        dit_of(half.dit).timestep_features.frequencies,
        dit_of(full.dit).timestep_features.frequencies,
    )
    key = "seconds_total.frequencies"
    assert torch.equal(half.numbers.state_dict()[key], full.numbers.state_dict()[key])
    decoder, reference = half.autoencoder.state_dict(), full.autoencoder.state_dict()
    # folded in float32, then rounded once
    assert all(torch.equal(decoder[name], reference[name].to(dtype)) for name in reference)


def test_the_hash_names_the_weights_and_the_config(folder: Path, state: State) -> None:
    first = opened(folder).model_hash
    assert first == opened(TINY).model_hash and len(first) == 64
    config = json.loads((folder / "model_config.json").read_bytes())
    (folder / "model_config.json").write_text(json.dumps({**config, "sample_size": 32_768}))
    second = opened(folder).model_hash
    save_file(
        {**state, "model.model.timestep_features.weight": torch.zeros(128, 1)},
        folder / "model.safetensors",
    )
    assert len({first, second, opened(folder).model_hash}) == 3


# --- relatives of the layout ---


def test_ckpt_gives_the_same_model(folder: Path, state: State) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"state_dict": state}, folder / "model.ckpt")
    found, expected = opened(folder).dit.state_dict(), opened(TINY).dit.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("shift", range(8, 64, 8))
def test_the_place_of_a_tensor_in_its_file_does_not_change_results(
    folder: Path, shift: int
) -> None:
    """MKL multiplies one row in another order if a matrix does not begin at a multiple of 16 bytes."""
    for path in (folder / "model.safetensors", folder / "t5/model.safetensors"):
        _shift_tensors(path, shift)
    found, expected = opened(folder), opened(TINY)
    tokens = torch.tensor([expected.text.tokenizer.ids("rain")])
    seconds = torch.tensor([7.0])
    with torch.inference_mode():
        for one, other in zip(_small_products(found), _small_products(expected), strict=True):
            assert one.data_ptr() % 64 == 0
            row = torch.randn(1, one.shape[1], generator=torch.Generator().manual_seed(1))
            assert torch.equal(F.linear(row, one), F.linear(row, other))
        embedded = (c.numbers["seconds_total"](seconds) for c in (found, expected))
        assert torch.equal(*embedded)
        states = (c.text.model(tokens, torch.ones_like(tokens)) for c in (found, expected))
        assert torch.equal(*states)


def _shift_tensors(path: Path, shift: int) -> None:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    length = (end - 8 + shift).to_bytes(8, "little")
    path.write_bytes(length + content[8:end] + b" " * shift + content[end:])


def _small_products(checkpoint: Checkpoint) -> list[Tensor]:
    parts = (checkpoint.dit, checkpoint.numbers, checkpoint.text.model)
    return [w for part in parts for w in part.state_dict().values() if w.ndim == 2]


def test_a_file_of_any_name_is_opened_with_the_config_beside_it(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tuned.safetensors")
    assert opened(folder / "tuned.safetensors").config == opened(TINY).config
    assert opened(folder).source == str(folder)


def test_new_weight_norm_names(folder: Path, state: State) -> None:
    renamed = {
        name.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): tensor
        for name, tensor in state.items()
    }
    save_file(renamed, folder / "model.safetensors")
    found, expected = opened(folder).autoencoder.state_dict(), opened(TINY).autoencoder.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_absent_buffers_are_no_loss(folder: Path, state: State) -> None:
    kept = {n: t for n, t in state.items() if not n.endswith((".inv_freq", "norm.beta"))}
    assert len(kept) < len(state)
    save_file(kept, folder / "model.safetensors")
    opened(folder)


@pytest.mark.parametrize("with_model_config", [True, False])
def test_autoencoder_alone(folder: Path, state: State, with_model_config: bool) -> None:
    prefix = "pretransform.model."
    names = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    torch.save({"state_dict": names}, folder / "vae_model.ckpt")
    if not with_model_config:
        config = config_from_json(json.loads((TINY / "model_config.json").read_bytes()))
        data = spec_to_json(Spec(config.audio, config.autoencoder))
        (folder / "vae_config.json").write_text(json.dumps(data))
    golden = load_file(TINY / "golden.safetensors")
    for source in (folder / "vae_model.ckpt", folder):
        found = open_autoencoder(source, device=CPU, dtype=torch.float32)
        assert found.audio == AudioFormat(latent_channels=16)
        with torch.inference_mode():
            decoded = found.autoencoder.decode(golden["vae.latents"])
        assert relative_error(decoded, golden["vae.decoded"]) <= 1e-5
    assert "only an autoencoder" in refusal(folder / "vae_model.ckpt")


# --- what does not fit is named ---

NAME = "model.model.transformer.layers.1.self_attn.to_out.weight"
BETA = "model.model.transformer.layers.0.ff_norm.beta"
UNFIT: dict[str, tuple[Callable[[State], object], tuple[str, ...]]] = {
    "missing": (lambda s: s.pop(NAME), (NAME, "1 missing")),
    "unexpected": (lambda s: s.update({"model.model.extra": torch.zeros(2)}), ("model.model.extra", "1 unexpected")),
    "misshapen": (lambda s: s.update({NAME: torch.zeros(128, 64)}), (NAME, "128×64, expected 128×128")),
    "misshapen beta": (lambda s: s.update({BETA: torch.full((12,), 0.01)}), (BETA, "12, expected 128")),
    "integers": (lambda s: s.update({NAME: torch.zeros(128, 128, dtype=torch.int8)}), (NAME, "int8")),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_unfit_tensors_are_named(folder: Path, state: State, kind: str) -> None:
    change, expected = UNFIT[kind]
    changed = dict(state)
    change(changed)
    save_file(changed, folder / "model.safetensors")
    message = refusal(folder)
    assert all(part in message for part in expected)


def test_a_norms_bias_that_is_not_zero_counts(folder: Path, state: State) -> None:
    """The reference computes with the `beta` that it finds, be it a parameter or a buffer."""
    expected = opened(TINY).dit
    changed = {**state, BETA: torch.full((128,), 0.01)}
    save_file(changed, folder / "model.safetensors")
    found = opened(folder)
    assert dit_config(found.config).norm_bias
    norm = first_block(dit_of(found.dit)).feed_forward_norm
    x = torch.randn(1, 3, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = norm(x) - first_block(dit_of(expected)).feed_forward_norm(x)
    torch.testing.assert_close(difference, torch.full_like(x, 0.01), rtol=0, atol=1e-6)


def first_block(dit: DiT) -> Block:
    (block, *_) = dit.blocks
    assert isinstance(block, Block)
    return block


def test_norm_settings(folder: Path) -> None:
    path = folder / "model_config.json"
    config = json.loads(path.read_bytes())
    dit = config["model"]["diffusion"]["config"]
    dit["norm_kwargs"] = {"bias": True, "eps": 1e-3, "force_fp32": True}
    path.write_text(json.dumps(config))
    model = opened(folder)
    dit_settings = dit_config(model.config)
    assert dit_settings.norm_bias and dit_settings.norm_eps == 1e-3
    x = torch.randn(1, 3, 128, generator=torch.Generator().manual_seed(0)) / 30
    norm = first_block(dit_of(model.dit)).self_attention_norm
    with torch.no_grad():
        expected = torch.nn.functional.layer_norm(x, (128,), norm.scale, norm.bias, eps=1e-3)
        assert relative_error(norm(x), expected) <= 1e-6
    assert config_from_json(config_to_json(model.config)).dit == model.config.dit
    for key, value in (("eps", 0.0), ("fix_scale", True), ("bias", 1), ("rms", True)):
        dit["norm_kwargs"] = {key: value}
        path.write_text(json.dumps(config))
        assert f"norm_kwargs.{key}" in refusal(folder)


def test_another_architecture(folder: Path) -> None:
    save_file({"unet.down.0.weight": torch.zeros(3)}, folder / "model.safetensors")
    assert "another architecture" in refusal(folder) and "unet.down.0.weight" in refusal(folder)


def test_config_of_another_model(folder: Path) -> None:
    shutil.copy(GOLDEN / "sao_small_tiny/model_config.json", folder)
    message = refusal(folder)
    assert "missing" in message and "unexpected" in message and "of another shape" in message


def test_missing_config(folder: Path) -> None:
    (folder / "model_config.json").unlink()
    assert "put its model_config.json beside it" in refusal(folder / "model.safetensors")


def test_empty_folder_and_wrong_paths(tmp_path: Path) -> None:
    assert "0 weights files" in refusal(tmp_path)
    assert "there is no file or folder" in refusal(tmp_path / "nothing")
    assert "there is no file or folder" in refusal("nothing.safetensors")


# --- the text encoder ---


def test_text_encoder_can_be_named(folder: Path) -> None:
    shutil.move(folder / "t5", folder.parent / "elsewhere")
    named = open_checkpoint(
        folder, device=CPU, dtype=torch.float32, text_encoder=folder.parent / "elsewhere"
    )
    assert named.text.tokenizer.ids("a drum") == opened(TINY).text.tokenizer.ids("a drum")


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("config.json", b'{"model_type": "bert"}', "does not hold a T5 encoder"),
        ("config.json", b'{"model_type": "t5", "d_model": "x"}', "no T5 config"),
        ("config.json", b'{"model_type": "t5", "d_model": 512}', "512 wide"),
        ("model.safetensors", b"x" * 100, "not a safetensors file"),
        ("tokenizer.json", b"{", "no usable tokenizer"),
    ],
)
def test_bad_text_encoders(folder: Path, file: str, content: bytes, expected: str) -> None:
    (folder / "t5" / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(folder, device=CPU, dtype=torch.float32, text_encoder=folder / "t5")


@pytest.mark.parametrize("name", ["/etc", "../t5", "~/t5", "http://127.0.0.1:9/t5", "file:///etc"])
def test_a_config_names_no_text_encoder_outside_the_hub(folder: Path, name: str) -> None:
    shutil.rmtree(folder / "t5")
    path = folder / "model_config.json"
    config = json.loads(path.read_text())
    for entry in config["model"]["conditioning"]["configs"]:
        if entry["type"] == "t5":
            entry["config"]["t5_model_name"] = name
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="not a model of the Hub"):
        opened(folder)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("T5TokenizerFast", "T5Tokenizer"),
        (None, "T5Tokenizer"),
        ("PreTrainedTokenizerFast", "TokenizersBackend"),
        ("LlamaTokenizer", "TokenizersBackend"),
        (["Evil", "Evil"], "TokenizersBackend"),
    ],
)
def test_tokenizers_are_of_two_classes(folder: Path, stated: object, expected: str) -> None:
    path = folder / "t5" / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": stated}
    settings |= {
        "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        "vocab_file": "/etc/passwd",
    }
    path.write_text(json.dumps(settings))
    tokenizer = open_foreign_tokenizer(folder / "t5")
    assert type(tokenizer).__name__ == expected and tokenizer.name_or_path == str(folder / "t5")
    assert not any(map(tokenizer.init_kwargs.get, ("auto_map", "vocab_file")))


# --- exports ---

OWN = ModelConfig(
    window_samples=2_048 * 64,
    audio=AudioFormat(latent_channels=72),
    autoencoder=SpectralConfig(fine_width=8, coarse_width=16, fine_blocks=1, coarse_blocks=1),
    dit=DiTConfig(
        latent_channels=72, embed_dim=64, depth=2, num_heads=2, context_dim=64, global_dim=128, qk_norm="ln",
        global_conditioning="adaln", max_positions=65,
    ),
    condition_dim=64,
)  # fmt: skip


def exported(target: Path, config: ModelConfig, dtype: torch.dtype | None = None) -> Networks:
    """Random networks (not zero anywhere) that were saved with the tiny text encoder."""
    networks, source = Networks(Spec.of(config)), opened(TINY)
    generator = torch.Generator().manual_seed(3)
    for tensor in networks.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    save_single_file(
        target, config, dit=networks.dit.state_dict(), numbers=networks.numbers.state_dict(),
        autoencoder=networks.autoencoder.state_dict(), text=source.text, dtype=dtype,
    )  # fmt: skip
    return networks


@pytest.mark.parametrize("name", ["own", "oobleck"])
def test_exports_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    config = OWN if name == "own" else opened(TINY).config
    networks = exported(tmp_path, config)
    found = opened(tmp_path)
    assert found.config == config
    for part in ("dit", "numbers", "autoencoder"):
        expected = getattr(networks, part).state_dict()
        state = getattr(found, part).state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], expected[key]) for key in expected)
    reference, t5 = opened(TINY).text.model.state_dict(), found.text.model.state_dict()
    assert all(torch.equal(t5[key], reference[key]) for key in reference)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.safetensors",
        "model_config.json",
        "t5",
    ]


@pytest.mark.parametrize("name", ["own", "oobleck"])
def test_half_precision_exports_round_once(tmp_path: Path, name: str) -> None:
    config = OWN if name == "own" else opened(TINY).config
    networks = exported(tmp_path, config, torch.float16)
    stored = load_file(tmp_path / "model.safetensors")
    half_bytes = sum(tensor.nbytes for tensor in stored.values() if tensor.dtype == torch.float16)
    assert half_bytes > 0.9 * sum(tensor.nbytes for tensor in stored.values())
    found = opened(tmp_path)
    expected = dit_of(networks.dit).timestep_features.frequencies
    assert torch.equal(dit_of(found.dit).timestep_features.frequencies, expected)
    for part in ("dit", "autoencoder"):
        state = getattr(found, part).state_dict()
        for key, tensor in getattr(networks, part).state_dict().items():
            if not key.endswith("frequencies"):
                assert torch.equal(state[key], tensor.half().float())


def test_exported_autoencoder_alone(tmp_path: Path) -> None:
    config = OobleckConfig(encoder_width=4, decoder_width=6, latent_channels=8)
    spec = Spec(AudioFormat(latent_channels=8), config)
    networks = Networks(spec)
    save_autoencoder(tmp_path, spec, networks.autoencoder.state_dict())
    found = open_autoencoder(tmp_path, device=CPU, dtype=torch.float32)
    assert (found.audio, found.config) == (spec.audio, config)
    expected, state = networks.autoencoder.state_dict(), found.autoencoder.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert "encoder.layers.0.weight_g" in load_file(tmp_path / "model.safetensors")


def test_an_export_that_fails_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        exported(folder, OWN)
    monkeypatch.undo()
    assert (folder / "model.safetensors").read_bytes() == before
    assert not list(folder.glob(".*"))
    opened(folder)


# --- inspection ---


def test_inspection_counts_as_published(tmp_path: Path) -> None:
    """A file as long as the published one, but sparse: reading its values would take gigabytes."""
    weights = published_weights(Spec.of(ModelConfig()))
    header = safetensors_header(sorted(weights.items()))
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 4 * sum(tensor.numel for tensor in weights.values()))
    shutil.copy(GOLDEN / "sao1_model_config.json", tmp_path / "model_config.json")
    found = inspect_checkpoint(tmp_path)
    assert (found.layout, found.num_tensors, found.stored_dtypes) == (
        "single-file",
        745,
        ("float32",),
    )
    assert found.total_parameters == 1_213_337_602
    assert found.parameters == {
        "autoencoder encoder": 77_989_888,
        "autoencoder decoder": 78_122_626,
        "timing embedders": 396_544,
        "diffusion transformer": 1_056_828_544,
    }
    assert 4.85e9 < found.file_bytes < 4.86e9
    assert found.memory_bytes["bfloat16"] == pytest.approx(
        found.memory_bytes["float32"] / 2, rel=1e-4
    )

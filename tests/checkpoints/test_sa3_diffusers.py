"""Stable Audio 3 medium in diffusers' layout: its own classes load what is written here, and compute the same."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from auralith.checkpoints import inspect_checkpoint
from auralith.checkpoints.adapter_changes import adaptable_shapes, spellings
from auralith.checkpoints.transform import from_diffusers, published_weights, to_diffusers
from auralith.cli.main import run
from auralith.families.family import Spec
from auralith.families.model_config import config_from_json
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from tests.conftest import relative_error
from tests.sa3 import SA3, write_sa3

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sa3("medium", tmp_path_factory.mktemp("sa3") / "medium")


@pytest.fixture(scope="module")
def folder(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "diffusers"
    assert run(["convert", str(original), str(out), "--to", "diffusers"]) == 0
    return out


@pytest.fixture(scope="module")
def peer(folder: Path) -> Any:
    return diffusers.StableAudio3Pipeline.from_pretrained(folder)


def test_a_folder_holds_the_model(original: Path, folder: Path) -> None:
    """There and back, bit for bit, but for the window and the noise of the decoder, which the layout lacks."""
    first, second = (load(path, device="cpu", dtype="float32") for path in (original, folder))
    for ours, theirs in zip(networks(first), networks(second), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert second.config.dit == first.config.dit
    assert second.config.sampling == first.config.sampling
    assert second.config.objective == "rf_denoiser"
    assert second.config.window_frames == 4_096
    request = GenerationRequest("rain on tin roof", seconds_total=0.5, steps=2, seed=1)
    sounds = [model.generate(request).waveform for model in (first, second)]
    assert torch.equal(*sounds)


def networks(model: Auralith) -> tuple[dict[str, Tensor], ...]:
    checkpoint = model.checkpoint
    parts = (checkpoint.dit, checkpoint.numbers, checkpoint.autoencoder, checkpoint.text.model)
    return tuple(part.state_dict() for part in parts)


@torch.no_grad()
def test_diffusers_computes_the_same(original: Path, folder: Path, peer: Any) -> None:
    """But for the epsilon of norms and the local condition, whose differences are told in docs/stable-audio-3.md."""
    model = load(original, device="cpu", dtype="float32")
    for module in peer.transformer.modules():
        if getattr(module, "eps", None) == 1e-6 and module.gamma.numel() == 128:
            module.eps = 1e-5
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 8, 30), (2, 9, 30), (2, 7, 32), (2, 32))
    x, local, context, vector = (torch.randn(*s, generator=generator) for s in shapes)
    t = torch.tensor([0.3, 0.8])
    expected = peer.transformer(
        x, t, encoder_hidden_states=context, global_hidden_states=vector, local_add_cond=local
    ).sample
    assert relative_error(model.dit(x, t, context, vector, local), expected) < 1e-5
    seconds = torch.tensor([0.5, 17.0])
    found = model.checkpoint.numbers["seconds_total"](seconds)[:, 0]
    assert relative_error(found, peer.duration_embedder(seconds)) < 1e-5
    latents = torch.randn(1, 8, 24, generator=generator)
    assert relative_error(model.autoencoder.decode(latents), peer.vae.decode(latents).sample) < 1e-5
    states = model.conditioner.encode_text(["rain on tin roof"])
    # the tiny model's tokenizer is not of Gemma's class, which the folder names
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    assert tokenizer.model_max_length == model.config.text.max_tokens
    tokens = tokenizer(["rain on tin roof"], return_tensors="pt", add_special_tokens=False)
    hidden = peer.text_encoder(**tokens).last_hidden_state
    assert relative_error(states.states[:, : hidden.shape[1]], hidden) < 1e-5


@pytest.mark.parametrize("name", ["medium", "medium-base"])
def test_names_and_shapes_are_those_of_diffusers(name: str) -> None:
    config = config_from_json(json.loads((SA3 / f"{name}.model_config.json").read_text()))
    published = published_weights(Spec.of(config))
    found = to_diffusers(published, Spec.of(config))
    with (SA3 / "diffusers_dit_medium.tsv").open() as lines:
        expected = {
            f"transformer.{row['name']}": tuple(json.loads(row["shape"]))
            for row in csv.DictReader(lines, delimiter="\t")
        }
    shapes = {n: t.shape for n, t in found.items() if n.startswith("transformer.")}
    assert shapes == expected
    assert {n for n in found if n.startswith("duration_embedder.")} == {
        f"duration_embedder.{end}" for end in ("freqs", "linear.weight", "linear.bias")
    }
    back = from_diffusers(found, Spec.of(config))
    assert {n: t.shape for n, t in back.items()} == {n: t.shape for n, t in published.items()}


def test_small_has_no_such_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = str(write_sa3("small", tmp_path / "small"))
    assert run(["convert", small, str(tmp_path / "out"), "--to", "diffusers"]) == 2
    assert "attention in chunks has no diffusers form" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_inspect_reads_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect_checkpoint(folder).spec.model is not None
    assert run(["inspect", str(folder)]) == 0
    assert "diffusers" in capsys.readouterr().out


def test_adapters_whose_rows_are_in_another_order_are_not_taken_for_ours(original: Path) -> None:
    """In diffusers, projections of two pairs of queries and keys have them side by side."""
    spec = inspect_checkpoint(original).spec
    shapes = adaptable_shapes(spec)
    names = {name for name, _ in spellings(shapes, spec, "diffusers")}
    assert "transformer_blocks_0_self_attn_to_out" in names
    assert not any(name.endswith("self_attn_to_qkv") for name in names)
    assert any(
        name.endswith("self_attn_to_qkv") for name, _ in spellings(shapes, spec, "single_file")
    )

"""Adapters of other programs that can't be used, each with the true reason in one line."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign import State, random, refusal
from safetensors.torch import save_file

from auralith.checkpoints import Checkpoint
from tests.conftest import open_tiny


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return open_tiny("sao_tiny")


STEM = "transformer.layers.0.self_attn.to_out"
A, B = f"{STEM}.lora_A.weight", f"{STEM}.lora_B.weight"
UNUSABLE: dict[str, tuple[Callable[[State], object], str]] = {
    "LoHa": (lambda s: s.update({f"{STEM}.hada_w1_a": torch.ones(2, 2)}), "LoHa"),
    "LoKr": (lambda s: s.update({f"{STEM}.lokr_w1": torch.ones(2, 2)}), "LoKr"),
    "Tucker": (lambda s: s.update({f"{STEM}.lora_mid.weight": torch.ones(2, 2, 1)}), "Tucker"),
    "lora_bias": (lambda s: s.update({f"{STEM}.lora_B.bias": torch.ones(128)}), "lora_bias"),
    "a bias": (lambda s: s.update({"transformer.layers.0.ff.ff.2.bias": torch.ones(128)}), "bias trained"),
    "modules_to_save": (lambda s: s.update({"to_global_embed.0.weight": torch.ones(2, 2)}), "modules_to_save"),
    "a second one": (lambda s: s.update({f"{STEM}.parametrizations.weight.1.lora_A": torch.ones(2, 2)}), "second adapter"),
    "two names": (lambda s: s.update({f"{STEM}.lora_A.other.weight": torch.ones(2, 128)}), "several adapters"),
    "half of it": (lambda s: s.pop(B), "lacks one of its two factors"),
    "two ranks": (lambda s: s.update({B: torch.ones(128, 3)}), "different ranks"),
    "integers": (lambda s: s.update({B: torch.ones(128, 2).int()}), "not floating point"),
    "alpha": (lambda s: s.update({f"{STEM}.alpha": torch.tensor(float("nan"))}), "alpha of nan"),
    "alphas": (lambda s: s.update({f"{STEM}.alpha": torch.ones(2)}), "alpha of 2 numbers"),
    "no adapter": (lambda s: (s.clear(), s.update({f"{STEM}.weight": torch.ones(2, 2)})), "is no adapter"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_is_not_understood_is_named(tmp_path: Path, kind: str) -> None:
    state = {A: random(2, 128), B: random(128, 2)}
    change, expected = UNUSABLE[kind]
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    assert expected in refusal(tmp_path / "a.safetensors")


UNFIT: dict[str, tuple[Callable[[State], object], str]] = {
    "text encoder": (
        lambda s: s.update({"lora_te_text_model_q.lora_down.weight": random(2, 8), "lora_te_text_model_q.lora_up.weight": random(8, 2)}),
        "1 of its 2 modules are not in the model (first 'lora_te_text_model_q')",
    ),
    "deeper": (lambda s: s.update({n.replace("layers.0", "layers.9"): t.clone() for n, t in s.items()}), "1 of its 2 modules"),
    "wider": (lambda s: s.update({A: random(2, 1024)}), "A is 2×1024, not 2×128"),
    "twice": (
        lambda s: s.update({n.replace("to_out", m): random(*size) for m in ("to_qkv", "to_k") for n, size in ((A, (2, 128)), (B, (384 if m == "to_qkv" else 128, 2)))}),
        "changes dit.blocks.0.self_attention.qkv twice",
    ),
    "NaN": (lambda s: s[B].fill_(float("nan")), "self_attention.out NaN or infinite"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_what_does_not_fit_the_model_is_named(base: Checkpoint, tmp_path: Path, kind: str) -> None:
    state = {A: random(2, 128), B: random(128, 2)}
    change, expected = UNFIT[kind]
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    assert expected in refusal(tmp_path / "a.safetensors", base)


def test_core_of_a_rank_that_the_weight_does_not_have(base: Checkpoint, tmp_path: Path) -> None:
    name = "model.preprocess_conv.parametrizations.weight.0.M_xs"
    save_file({name: random(17, 17)}, tmp_path / "a.safetensors")
    assert "only 16 singular vectors" in refusal(tmp_path / "a.safetensors", base)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # pyright: ignore[reportReturnType]


def test_no_code_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({A: random(2, 128), "x": Evil()}, tmp_path / "a.ckpt")
    assert "could run code" in refusal(tmp_path / "a.ckpt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Evil()))
    assert refusal(tmp_path / "b.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"lora_adapter_metadata": "{"}, "not JSON"),
        ({"lora_adapter_metadata": '{"transformer.r": "x"}'}, "unusable LoRA config"),
        ({"lora_adapter_metadata": '{"r": 4, "lora_alpha": 1}'}, "has rank 2, but the config says 4"),
        ({"lora_adapter_metadata": '{"r": 2, "use_dora": true}'}, "is lora, but the config says dora"),
        ({"lora_adapter_metadata": '{"r": 2, "layer_replication": [1]}'}, "layer_replication"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_right(
    tmp_path: Path, header: dict[str, str], expected: str
) -> None:
    save_file({A: random(2, 128), B: random(128, 2)}, tmp_path / "a.safetensors", header)
    assert expected in refusal(tmp_path / "a.safetensors")

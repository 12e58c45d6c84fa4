"""The transformer against the reference's numbers, and each shortcut against the long way."""

from dataclasses import replace

import pytest
import torch
from rounding import assert_rounding_only
from torch import Tensor

from auralith.checkpoints import Checkpoint
from auralith.config import DiTConfig
from auralith.diffusion import guide
from auralith.models.dit import DiT, FourierFeatures
from tests.conftest import relative_error


def random_dit(**changes: object) -> DiT:
    config = replace(
        DiTConfig(
            latent_channels=4, embed_dim=64, depth=2, num_heads=2, context_dim=32, global_dim=16
        ),
        **changes,  # pyright: ignore[reportArgumentType]
    )
    generator = torch.Generator().manual_seed(1)
    dit = DiT(config)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return dit.eval()


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    latents, context = (
        torch.randn(3, 4, 9, generator=generator),
        torch.randn(3, 5, 32, generator=generator),
    )
    return latents, torch.tensor([0.1, 0.5, 0.9]), context, torch.randn(3, 16, generator=generator)


def test_published_config_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        dit = DiT(DiTConfig())
    assert sum(parameter.numel() for parameter in dit.parameters()) == 1_056_828_544


@torch.inference_mode()
def test_equals_the_reference(checkpoint: Checkpoint, golden: dict[str, Tensor]) -> None:
    x, t = golden["dit.x"], golden["dit.t"]
    out = checkpoint.dit(x, t, golden["cond.context"], golden["cond.global"])
    assert relative_error(out, golden["dit.out"]) <= 1e-5


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "scale", "rescale", "negative"),
    [
        ("cfg7", 7.0, 0.0, False),
        ("cfg4_negative", 4.0, 0.0, True),
        ("cfg7_rescale0.7", 7.0, 0.7, False),
    ],
)
def test_guidance_equals_the_reference(
    checkpoint: Checkpoint,
    golden: dict[str, Tensor],
    name: str,
    scale: float,
    rescale: float,
    negative: bool,
) -> None:
    x, t, global_embed = golden["dit.x"], golden["dit.t"], golden["cond.global"]
    context = golden["cond.context"]
    if negative:
        context = torch.cat((context, golden["cond.negative_context"]))
    prepared = checkpoint.dit.prepare(context, global_embed.repeat(2, 1), x.shape[-1])
    out = checkpoint.dit.step(x.repeat(2, 1, 1), t.repeat(2), prepared)
    v_cond, v_uncond = out.chunk(2)
    guided = guide(v_cond, v_uncond, scale, rescale)
    assert relative_error(guided, golden[f"dit.out_{name}"]) <= 1e-5


@torch.inference_mode()
def test_skipping_cross_attention_equals_an_all_zero_context(
    checkpoint: Checkpoint, golden: dict[str, Tensor]
) -> None:
    x, t, global_embed = golden["dit.x"], golden["dit.t"], golden["cond.global"]
    zeros = torch.zeros_like(golden["cond.context"])
    without = checkpoint.dit(x, t, None, global_embed)
    assert_rounding_only(without, lambda: checkpoint.dit(x, t, zeros, global_embed))


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["prepend", "adaln"])
def test_rows_do_not_depend_on_their_batch(
    kind: str, inputs: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    dit = random_dit(global_conditioning=kind, max_positions=16)
    latents, t, context, global_embed = inputs
    alone = dit(latents[1:2], t[1:2], context[1:2], global_embed[1:2])
    assert_rounding_only(alone, lambda: dit(latents, t, context, global_embed)[1:2])


@torch.inference_mode()
def test_prepared_once_equals_prepared_at_every_step(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    dit = random_dit()
    latents, t, context, global_embed = inputs
    prepared = dit.prepare(context, global_embed, latents.shape[-1])
    for time in (t, t * 0.5):
        found = dit.step(latents, time, prepared)
        assert_rounding_only(found, lambda time=time: dit(latents, time, context, global_embed))


def test_training_attention_equals_inference_attention(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    dit = random_dit(qk_norm="ln", project_context=True)
    latents, t, context, global_embed = inputs
    trained = dit(latents, t, context, global_embed)
    assert trained.requires_grad
    with torch.no_grad():
        assert_rounding_only(trained, lambda: dit(latents, t, context, global_embed))


def test_timesteps_stay_distinct_in_half_precision() -> None:
    features = FourierFeatures(128).to(torch.bfloat16)
    times = torch.linspace(0.9981, 0.9985, 8)
    assert len(torch.unique(times.bfloat16())) == 1
    assert len(torch.unique(features(times), dim=0)) == 8

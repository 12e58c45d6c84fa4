"""Hand-written backward passes against autograd on the plain formulas."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from rounding import assert_rounding_only
from torch import Tensor, nn

from auralith.config import DiTConfig
from auralith.models import attention, dit
from auralith.models.attention import Rotary, rotary_table, rotate, split_heads
from auralith.models.dit import DiT
from auralith.models.gradients import (
    WEIGHT_ROWS,
    WIDE,
    Heads,
    Linear,
    Recipe,
    normalize,
    rotated_heads,
    swiglu,
)
from tests.conftest import relative_error


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Of the output's product with fixed noise."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = function(*leaves)
    weights = noise(*out.shape, seed=1).to(out.dtype)
    return list(torch.autograd.grad((out * weights).sum(), leaves))


def assert_equal_gradients(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor
) -> None:
    wide = [tensor.double() for tensor in inputs]
    assert_rounding_only(ours(*(i.clone() for i in inputs)), lambda: plain(*wide))
    assert_rounding_only(gradients(ours, *inputs), lambda: gradients(plain, *wide))


def plain_swiglu(projected: Tensor) -> Tensor:
    value, gate = projected.chunk(2, dim=-1)
    return value * F.silu(gate)


def plain_heads(projected: Tensor, num_heads: int, cos: Tensor, sin: Tensor) -> Heads:
    query, key, value = (split_heads(part, num_heads) for part in projected.chunk(3, -1))
    table = Rotary(cos, sin)
    return Heads(rotate(query, table), rotate(key, table), value)


def test_swiglu() -> None:
    assert_equal_gradients(swiglu, plain_swiglu, 3 * noise(2, 5, 24))


def test_normalize() -> None:
    def plain(x: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), scale, eps=1e-5)

    assert_equal_gradients(normalize, plain, noise(2, 5, 24), noise(24, seed=2))


def test_rotated_heads() -> None:
    table = rotary_table(7, 32, torch.device("cpu"))

    def flat(function: Callable[..., Heads]) -> Callable[[Tensor], Tensor]:
        # the product stands for a projection, whose output may be taken over
        return lambda projected: torch.cat(function(projected * 1, 3, *table), dim=-1)

    assert_equal_gradients(flat(rotated_heads), flat(plain_heads), noise(2, 7, 3 * 3 * 64))


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    parameters = [noise(6, 8, seed=3), noise(6, seed=4)][: 1 + bias]

    def ours(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        layer = Linear(8, 6, bias=bias is not None)
        del layer.weight, layer.bias
        layer.weight, layer.bias = weight, bias  # pyright: ignore[reportAttributeAccessIssue]
        return layer(x)

    assert_equal_gradients(ours, F.linear, noise(2, 5, 8), *parameters)


def test_linear_makes_its_input_again() -> None:
    layer, source = Linear(12, 6), noise(2, 5, 24).requires_grad_()
    held: list[int] = []
    x = swiglu(source)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: held.append(t.data_ptr()) or t, lambda t: t
    ):
        out = layer(x, Recipe(swiglu, (source,)))
    assert source.data_ptr() in held and x.data_ptr() not in held
    found = torch.autograd.grad(out.square().sum(), [source, *layer.parameters()])

    def plain() -> tuple[Tensor, ...]:
        leaves = [t.detach().double().requires_grad_() for t in (source, *layer.parameters())]
        expected = F.linear(plain_swiglu(leaves[0]), *leaves[1:])
        return torch.autograd.grad(expected.square().sum(), leaves)

    assert_rounding_only(found, plain)


@pytest.mark.parametrize("autocast", [True, False])
def test_weight_gradients_in_parts_equal_those_in_one(autocast: bool) -> None:
    dtype = torch.float32 if autocast else torch.bfloat16
    ours = Linear(WIDE, WEIGHT_ROWS + 100).to(dtype)
    plain = nn.Linear(WIDE, WEIGHT_ROWS + 100).to(dtype)
    plain.load_state_dict(ours.state_dict())
    x = noise(3, 33, WIDE).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outs = [layer(x) for layer in (ours, plain)]
    assert torch.equal(*outs)
    for out in outs:
        (out.float() * noise(*out.shape, seed=5)).sum().backward()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert one.grad.dtype is dtype
        assert relative_error(one.grad.float(), other.grad.float()) <= 1e-2


def transformer(**changes: object) -> DiT:
    config = DiTConfig(
        latent_channels=4,
        embed_dim=64,
        depth=2,
        num_heads=2,
        context_dim=32,
        global_dim=16,
        **changes,  # pyright: ignore[reportArgumentType]
    )
    network = DiT(config)
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.copy_(0.3 * noise(*parameter.shape, seed=index))
    return network


def parameter_gradients(network: DiT) -> dict[str, Tensor]:
    network.zero_grad()
    out = network(noise(2, 4, 9), torch.tensor([0.2, 0.7]), noise(2, 5, 32), noise(2, 16))
    (out * noise(*out.shape, seed=6)).sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


KINDS = [{}, {"qk_norm": "ln"}, {"global_conditioning": "adaln", "max_positions": 16}]


@pytest.mark.parametrize("kind", KINDS)
def test_the_transformers_gradients_are_those_of_the_plain_formulas(
    kind: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = transformer(**kind)
    found = parameter_gradients(network)
    monkeypatch.setattr(dit, "swiglu", plain_swiglu)
    monkeypatch.setattr(attention, "rotated_heads", plain_heads)
    monkeypatch.setattr(Linear, "forward", lambda layer, x, _=None: nn.Linear.forward(layer, x))
    assert_rounding_only(found, lambda: parameter_gradients(copy.deepcopy(network).double()))


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_gives_the_same_gradients_bit_for_bit(kind: dict[str, object]) -> None:
    network = transformer(**kind)
    expected = parameter_gradients(network)
    network.checkpoint_activations = True
    found = parameter_gradients(network)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_checkpointing_computes_blocks_again_only_for_gradients() -> None:
    network = transformer()
    network.checkpoint_activations = True
    calls: list[bool] = []
    network.blocks[0].register_forward_pre_hook(lambda *_: calls.append(True))
    parameter_gradients(network)
    assert len(calls) == 2
    with torch.no_grad():
        network(noise(2, 4, 9), torch.tensor([0.2, 0.7]), noise(2, 5, 32), noise(2, 16))
    assert len(calls) == 3

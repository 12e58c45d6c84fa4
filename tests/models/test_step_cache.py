"""Steps that are reused: equal to whole ones where nothing is, the first block's part new where something is, sound by sound."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from rounding import MARGIN, UNIT
from torch import Tensor

from auralith.diffusion import Guidance, VObjective
from auralith.guided import guided
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.step_cache import StepCache
from auralith.pipeline import Auralith
from tests.conftest import open_tiny, relative_error

FRAMES = 8
NEVER, ALWAYS = 1e-12, 1.0
ITEMS = 3
CLOSE = 1e-4
"""Far above the rounding of a step of these networks (MARGIN · UNIT · some hundred terms), far below any change here."""
assert CLOSE > MARGIN * UNIT * 50


class Inputs(NamedTuple):
    x: Tensor
    t: Tensor
    prepared: Any


class Run(NamedTuple):
    """A network, and the rows that went through its last block, call by call."""

    dit: DiffusionTransformer[Any]
    rows: list[int]


@pytest.fixture(params=["1.0", "1.0 adaln", "small", "medium"])
def network(
    request: pytest.FixtureRequest, sa3_models: dict[tuple[str, str], Auralith]
) -> Iterator[Run]:
    if request.param.startswith("1.0"):
        name = "sao_small_tiny" if "adaln" in request.param else "sao_tiny"
        dit: DiffusionTransformer[Any] = open_tiny(name).dit
    else:
        dit = sa3_models[request.param, "rectified_flow"].dit
    rows: list[int] = []
    hook = dit.blocks[-1].register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    yield Run(dit, rows)
    hook.remove()


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(run: Run, items: int = ITEMS, branches: int = 2) -> Inputs:
    """Return a guided batch whose second branch has no context."""
    config: Any = run.dit.config
    context = normal(1, items, 5, config.context_dim)
    vector = normal(2, items, config.global_dim).repeat(branches, 1)
    x = normal(3, items, config.latent_channels, FRAMES).repeat(branches, 1, 1)
    t = torch.full((branches * items,), 0.6)
    return Inputs(x, t, run.dit.prepare(context, vector, FRAMES))


@torch.inference_mode()
def test_what_reuses_nothing_is_the_plain_step(network: Run) -> None:
    one = inputs(network, 1)
    cache = StepCache(NEVER, 1)
    for shift in (0.0, 0.1):
        given = (one.x + shift, one.t, one.prepared)
        assert torch.equal(network.dit.step(*given, cache), network.dit.step(*given))
    many = inputs(network)
    cache = StepCache(NEVER, ITEMS)
    found = network.dit.step(*many, cache)
    assert relative_error(found, network.dit.step(*many)) < CLOSE


@torch.inference_mode()
def test_a_reused_step_adds_what_the_others_added(network: Run) -> None:
    dit, one = network.dit, inputs(network)
    cache = StepCache(ALWAYS, ITEMS)
    whole = dit.step(*one, cache)
    network.rows.clear()
    assert relative_error(dit.step(*one, cache), whole) < CLOSE
    moved = one._replace(x=one.x + 0.01 * normal(7, *one.x.shape))
    reused = dit.step(*moved, cache)
    assert network.rows == []
    x, modulation = dit.enter(*one)
    first = dit._through(x, modulation, one.prepared, 0, 1)
    others = dit._through(first, modulation, one.prepared, 1, len(dit.blocks)) - first
    x, modulation = dit.enter(*moved)
    expected = dit._through(x, modulation, one.prepared, 0, 1) + others
    out = dit.project_out(expected[:, -FRAMES:]).transpose(1, 2)
    assert relative_error(reused, dit.conv_out(out) + out) < CLOSE
    assert relative_error(reused, whole) > CLOSE


@torch.inference_mode()
def test_each_sound_decides_and_is_computed_by_itself(network: Run) -> None:
    """Of three sounds the second moves: it is computed with both of its branches, and equals its run alone bit for bit."""
    dit, one = network.dit, inputs(network)
    moved = one.x.clone()
    moved[1::ITEMS] += 0.5 * normal(8, *moved[1::ITEMS].shape)
    cache = StepCache(1e-3, ITEMS)
    kept = dit.step(*one, cache)
    assert network.rows == [2, 2, 2]
    network.rows.clear()
    found = dit.step(moved, one.t, one.prepared, cache)
    assert network.rows == [2]
    for item in range(ITEMS):
        rows = slice(item, None, ITEMS)
        alone = StepCache(1e-3, 1)
        prepared = one.prepared.rows(rows)
        dit.step(one.x[rows], one.t[rows], prepared, alone)
        expected = dit.step(moved[rows], one.t[rows], prepared, alone)
        assert relative_error(found[rows], expected) < CLOSE
        stays = relative_error(found[rows], kept[rows])
        assert (stays > CLOSE) if item == 1 else (stays < CLOSE)


@torch.inference_mode()
def test_a_branch_without_a_whole_step_is_computed(network: Run) -> None:
    """Where guidance ends the conditioned branch goes on with what it has; where it begins, both are computed."""
    dit, one = network.dit, inputs(network, 1)
    half = (one.x[:1], one.t[:1], one.prepared.rows(slice(1)))
    cache = StepCache(ALWAYS, 1)
    dit.step(*one, cache)
    dit.step(*half, cache)
    assert network.rows == [2]
    cache = StepCache(ALWAYS, 1)
    dit.step(*half, cache)
    dit.step(*one, cache)
    assert network.rows == [2, 1, 2]


@torch.inference_mode()
def test_not_a_number_is_never_reused(network: Run) -> None:
    dit, one = network.dit, inputs(network, 1)
    cache = StepCache(ALWAYS, 1)
    dit.step(*one, cache)
    assert dit.step(one.x * float("nan"), one.t, one.prepared, cache).isnan().all()
    assert dit.step(*one, cache).isfinite().all()
    assert network.rows == [2, 2, 2]


@torch.inference_mode()
def test_networks_of_other_noise_levels_have_their_own(network: Run) -> None:
    """Adapters that act at some levels: the second network's first step adds nothing of the first one's."""
    config: Any = network.dit.config
    context, vector = normal(1, 1, 5, config.context_dim), normal(2, 2, config.global_dim)
    x = normal(3, 1, config.latent_channels, FRAMES)
    other = type(network.dit)(config).eval()
    by_level = guided(
        *(network.dit, VObjective(), Guidance(3.0), 1, context, vector, FRAMES),
        dit_at=lambda level: network.dit if level > 0.5 else other,
        cache_threshold=ALWAYS,
    )
    plain = guided(other, VObjective(), Guidance(3.0), 1, context, vector, FRAMES)
    by_level(x, 0.9)
    assert torch.equal(by_level(x, 0.2).v, plain(x, 0.2).v)
    network.rows.clear()
    by_level(x, 0.9)
    assert network.rows == []

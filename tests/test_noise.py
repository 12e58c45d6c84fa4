import math
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from auralith.errors import InvalidRequest
from auralith.noise import BrownianTree, ItemStreams, ReferenceNoise

SIGMAS = (80.0, 20.0, 5.0, 1.0, 0.3, 0.0)


def draws(streams, count=3):
    first = streams.initial()
    source = streams.for_steps(SIGMAS, "brownian")
    return torch.stack([first, *(source(*SIGMAS[i : i + 2]) for i in range(count))])


def test_an_item_is_the_same_alone_and_anywhere_in_a_batch():
    alone = draws(ItemStreams([7], (4, 9)))
    for seeds in ([7, 8], [8, 7], [1, 2**40, 7, 3]):
        assert torch.equal(draws(ItemStreams(seeds, (4, 9)))[:, [seeds.index(7)]], alone)


@pytest.mark.parametrize("channels", [1, 3, 16, 64])
def test_a_shorter_window_gets_the_beginning_of_a_longer_one(channels):
    longer = draws(ItemStreams([5], (channels, 40)))
    for frames in (1, 7, 33):
        assert torch.equal(draws(ItemStreams([5], (channels, frames))), longer[..., :frames])


def test_seeds_and_draws_are_all_different():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**63 - 1]
    values = draws(ItemStreams(seeds, (8, 32))).flatten(0, 1).flatten(1)
    correlations = torch.corrcoef(values) - torch.eye(len(values))
    assert correlations.abs().max() < 0.3


def test_item_streams_are_unit_normal():
    values = draws(ItemStreams([3], (64, 1000)))
    assert values.mean().item() == pytest.approx(0, abs=0.01)
    assert values.std().item() == pytest.approx(1, abs=0.01)
    assert values.dtype == torch.float32


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(InvalidRequest, match="seed"):
        ItemStreams([seed], (1, 1))
    with pytest.raises(InvalidRequest, match="seed"):
        ReferenceNoise(seed, (1, 1, 1))


def test_brownian_noise_equals_the_reference(pytestconfig):
    golden = load_file(pytestconfig.rootpath / "tests/golden/sao_tiny/golden.safetensors")
    sigmas, expected = golden["brownian.sigmas"].tolist(), golden["brownian.noise"]
    _, batch, channels, frames = expected.shape
    stream = ReferenceNoise(77, (batch, channels, frames))
    stream.initial()
    source = stream.for_steps(sigmas, "brownian")
    steps = [source(*sigmas[i : i + 2]) for i in range(len(expected))]
    assert (torch.stack(steps) - expected).abs().max() < 1e-5


def test_reference_noise_is_what_a_seeded_global_generator_draws():
    before = torch.random.get_rng_state()
    stream = ReferenceNoise(42, (2, 3, 5))
    initial = stream.initial()
    step = stream.for_steps(SIGMAS, "independent")(2.0, 1.0)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        assert torch.equal(torch.randn(2, 3, 5), initial)
        assert torch.equal(torch.randn(2, 3, 5), step)


def test_a_draw_for_init_audio_comes_between_the_noise_and_the_tree():
    def first_step(extra_draw):
        stream = ReferenceNoise(1, (1, 2, 3))
        stream.initial()
        if extra_draw:
            torch.randn(1, 2, 3, generator=stream.generator)
        return stream.for_steps(SIGMAS, "brownian")(80.0, 20.0)

    assert not torch.equal(first_step(False), first_step(True))


def test_the_path_does_not_depend_on_the_order_of_questions():
    shape, times = (1, 4, 4), (80.0, 41.5, 20.0, 7.25, 0.3)
    path = BrownianTree(9, shape, 0.3, 80.0)
    steps = [path(a, b) * math.sqrt(a - b) for a, b in pairwise(times)]
    for a, b in ((80.0, 0.3), (80.0, 20.0), (41.5, 7.25), (20.0, 0.3)):
        fresh = BrownianTree(9, shape, 0.3, 80.0)(a, b) * math.sqrt(a - b)
        pieces = torch.stack(steps[times.index(a) : times.index(b)]).sum(0)
        assert torch.allclose(fresh, pieces, atol=1e-4)


def test_increments_are_independent_unit_normals():
    path = BrownianTree(3, (1, 64, 256), 0.3, 500.0)
    levels = [500 * (0.3 / 500) ** (i / 20) for i in range(21)]
    steps = torch.stack([path(*levels[i : i + 2]).flatten() for i in range(20)])
    covariance = steps @ steps.T / steps.shape[1]
    assert (covariance - torch.eye(20)).abs().max() < 0.05


def test_times_outside_the_bounds_are_clamped():
    inside, outside = (BrownianTree(3, (1, 2, 2), 0.3, 500.0) for _ in range(2))
    expected = inside(500.0, 0.3) * math.sqrt(499.7)
    assert torch.allclose(outside(500.00006, 0.0) * math.sqrt(500.00006), expected)


def test_a_schedule_of_one_sigma_has_a_path():
    assert ReferenceNoise(0, (1, 2, 2)).for_steps((500.0, 0.0), "brownian") is not None

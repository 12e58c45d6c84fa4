"""References: what was published is read, and nothing in a file runs or gets through damaged.

AURALITH_STATISTICS names a folder with the published `song_describer*.pkl`, whose figures are tested there.
"""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._utils import _rebuild_tensor_v2

from auralith.errors import CheckpointError
from auralith.metrics.divergence import baselines
from auralith.metrics.references import (
    convert_probabilities,
    read_pickled_probabilities,
    read_probabilities,
    read_statistics,
)

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:TypedStorage")
STATISTICS = Path(os.environ.get("AURALITH_STATISTICS", ""))


def rows(count: int = 5) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {i: torch.rand(527, generator=generator).softmax(0) for i in range(count)}


def test_pickles_become_safetensors(tmp_path: Path) -> None:
    stored = rows()
    stored[7] = torch.stack([stored[0], stored[1]])[1]  # a view with an offset
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(stored))
    assert convert_probabilities(tmp_path / "p.pkl", tmp_path / "p.safetensors") == 6
    found = read_probabilities(tmp_path / "p.safetensors")
    assert list(found) == [str(id) for id in stored]
    assert all((found[str(id)] == row.numpy()).all() for id, row in stored.items())


class _Runs:
    def __init__(self, function: object, *arguments: object) -> None:
        self.pair = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.pair


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_runs(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    inner = torch.storage._load_from_bytes
    bad = [
        _Runs(os.mkdir, str(mark)),
        _Runs(eval, f"open({str(mark)!r}, 'w')"),
        _Runs(inner, pickle.dumps(_Runs(os.mkdir, str(mark)))),
        _Runs(inner, b"damaged"),
        _Runs(_rebuild_tensor_v2, 1, 0, (3,), (1,), False, OrderedDict()),
        _Runs(OrderedDict, 5),
    ]
    for value in bad:
        (tmp_path / "p.pkl").write_bytes(pickle.dumps({1: rows()[1], 2: value}, protocol))
        with pytest.raises(CheckpointError):
            read_pickled_probabilities(tmp_path / "p.pkl")
    assert not mark.exists()


def test_a_tensor_stays_inside_its_storage(tmp_path: Path) -> None:
    storage = torch.arange(4.0).storage()
    for size, stride, offset in [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2,), (9,), 0),
        ((2,), (1,), -1),
    ]:
        made = _Runs(_rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())
        (tmp_path / "p.pkl").write_bytes(pickle.dumps({1: made}))
        with pytest.raises(CheckpointError):
            read_pickled_probabilities(tmp_path / "p.pkl")


def test_other_content_is_refused(tmp_path: Path) -> None:
    good = rows()
    for value in (
        [1, 2],
        {},
        {1: 2.0},
        {1: good[1].double()},
        {1: good[1], 2: good[2][:500]},
        {1: good[1][None]},
        {1: good[1], "1": good[2]},
        {(1,): good[1]},
    ):
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(CheckpointError):
            read_pickled_probabilities(tmp_path / "p.pkl")
    with pytest.raises(CheckpointError):
        read_pickled_probabilities(tmp_path / "none.pkl")
    content = pickle.dumps(good)
    for place in range(0, len(content), 97):
        (tmp_path / "p.pkl").write_bytes(content[:place])
        with pytest.raises(CheckpointError):
            read_pickled_probabilities(tmp_path / "p.pkl")


def test_damaged_pickles_are_refused_or_read_whole(tmp_path: Path) -> None:
    content, rng = pickle.dumps(rows(2)), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=3):
            damaged[place] = rng.integers(256)
        (tmp_path / "p.pkl").write_bytes(damaged)
        try:
            found = read_pickled_probabilities(tmp_path / "p.pkl")
        except CheckpointError:
            continue
        assert all(row.dtype == torch.float32 for row in found.values())


def test_statistics_are_checked(tmp_path: Path) -> None:
    path, mean, sigma = tmp_path / "s.npz", np.arange(3.0), np.eye(3) + 1
    np.savez(path, mu_ref=mean, sigma_ref=sigma)
    found = read_statistics(path, count=20)
    assert (found.mean == mean).all() and (found.covariance == sigma).all() and found.count == 20
    skewed = sigma.copy()
    skewed[0, 1] += 1
    for mu, cov in [
        (mean, skewed),
        (mean, sigma[:2]),
        (mean, np.full((3, 3), np.nan)),
        (mean[:2], sigma),
        (mean.astype(object), sigma),
        (mean.astype(complex), sigma),
        (mean[None], sigma),
    ]:
        np.savez(path, mu_ref=mu, sigma_ref=cov)
        with pytest.raises(CheckpointError):
            read_statistics(path)
    np.savez(path, mu_ref=mean)
    with pytest.raises(CheckpointError, match="sigma_ref"):
        read_statistics(path)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place])
        with pytest.raises(CheckpointError):
            read_statistics(path, "mu_ref", "mu_ref")
    with pytest.raises(CheckpointError):
        read_statistics(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("song_describer-nosinging", (-5.12e-4, 0.414, 0.409, 0.442, 0.799, 3.550)),
        ("song_describer", (-5.13e-4, 0.378, 0.307, 0.416, 0.737, 3.525)),
    ],
)
def test_figures_of_the_song_describer(name: str, figures: tuple[float, ...]) -> None:
    path = STATISTICS / f"{name}.pkl"
    if not path.is_file():
        pytest.skip(f"AURALITH_STATISTICS has no {path.name}")
    found = baselines({id: row.numpy() for id, row in read_pickled_probabilities(path).items()})
    names = ("reference", "mean", "previous", "one_class", "shuffled", "uniform")
    for which, expected in zip(names, figures, strict=True):
        assert found[which] == pytest.approx(expected, abs=6e-4 if expected > 0 else 6e-7), which

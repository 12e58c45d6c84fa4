"""Time what evaluation does with many numbers: the Fréchet distance, and the search for nearest rows.

    python benchmarks/metrics.py frechet --frames 100000 --dim 1024
    python benchmarks/metrics.py search --queries 1000 --rows 486492 --dim 512

Threads are torch's and NumPy's own (OMP_NUM_THREADS).
"""

import argparse
import resource
import time

import numpy as np

from auralith.memorization.search import nearest
from auralith.metrics.frechet import frechet_distance
from auralith.metrics.gaussian import gaussian_of


def frechet(frames: int, dim: int) -> None:
    """Time the distance of frames from a reference whose statistics are known."""
    rng = np.random.default_rng(0)
    reference = gaussian_of(rng.standard_normal((4 * dim, dim), dtype=np.float32))
    x = rng.standard_normal((frames, dim), dtype=np.float32)
    start = time.perf_counter()
    found = frechet_distance(gaussian_of(x), reference)
    seconds = time.perf_counter() - start
    print(f"{frames:,} × {dim:,} frames: {found.value:.4f} in {seconds:.2f} s")


def search(queries: int, rows: int, dim: int, k: int) -> None:
    """Time the k nearest rows of each query, all at random."""
    known, asked = (_unit(count, dim, seed) for seed, count in enumerate((rows, queries)))
    before = _peak_mb()
    start = time.perf_counter()
    nearest(asked, known, k)
    seconds = time.perf_counter() - start
    gflops = 2 * queries * rows * dim / seconds / 1e9
    print(
        f"{queries:,} queries in {rows:,} × {dim:,}, k = {k}: {seconds:.1f} s"
        f" ({gflops:.0f} GFLOP/s), {_peak_mb() - before:.0f} MB above the rows"
    )


def _unit(count: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = np.empty((count, dim), np.float16)
    for start in range(0, count, 10_000):
        part = rng.standard_normal((min(10_000, count - start), dim), dtype=np.float32)
        made[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return made


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("frechet", "search"))
    for name, default in (
        ("frames", 100_000),
        ("dim", 512),
        ("queries", 1_000),
        ("rows", 486_492),
        ("k", 50),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if given.what == "frechet":
        frechet(given.frames, given.dim)
    else:
        search(given.queries, given.rows, given.dim, given.k)


if __name__ == "__main__":
    main()

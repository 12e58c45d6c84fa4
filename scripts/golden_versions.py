"""Record the numbers of every metric and front end beside their versions, for the tests.

    python -m scripts.golden_versions tests/golden/versions.json

Values are comparable if their versions agree, so where a number changes beyond rounding, its version does, too: raise it
(`VERSIONS` in `evaluation/measures.py`, `front_end_version` of an embedder), and run this again.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from auralith.embedders import Embedder, open_embedder
from auralith.embedders.mel import MelStatistics
from auralith.embedders.musicnn import Musicnn, MusicnnNetwork
from auralith.embedders.openl3 import OpenL3, OpenL3Network
from auralith.embedders.passt import PaSST, PaSSTNetwork
from auralith.evaluation.measures import VERSIONS, Kind
from auralith.metrics.alignment import alignment_score
from auralith.metrics.divergence import divergence
from auralith.metrics.frechet import frechet_distance, frechet_infinity
from auralith.metrics.gaussian import gaussian_of
from auralith.metrics.kernel import kernel_distance
from scripts.embedder_peers import SEED, fill, sound
from scripts.random_weights import small_clap, write_clap

SECONDS, RATE = 12, 44_100
_SHOWN = 6
Recorded = dict[str, dict]
"""Version, numbers, and for a front end the count of its rows, by name."""


def recorded() -> Recorded:
    """Return versions and numbers of this code, by metric and by front end."""
    metrics = {
        kind: {"version": VERSIONS[kind], "numbers": [[value]]}
        for kind, value in metric_values().items()
    }
    return metrics | dict(front_ends())


def changed(found: Recorded, before: Recorded) -> list[str]:
    """Return the names whose numbers differ by more than the rounding of float32 in a network."""
    return [name for name in found if name in before and _differs(found[name], before[name])]


def _differs(one: dict, other: dict) -> bool:
    first, second = (np.array(part["numbers"]) for part in (one, other))
    if first.shape != second.shape or one.get("rows") != other.get("rows"):
        return True
    return bool(np.abs(first - second).max() > 1e-4 * np.abs(second).max())


def main(path: Path) -> None:
    """Write the golden file. Refuse where numbers changed and their version did not."""
    found = recorded()
    before = json.loads(path.read_text()) if path.exists() else {}
    for name in changed(found, before):
        if found[name]["version"] == before[name]["version"]:
            raise SystemExit(f"{name}: its numbers changed; raise its version first")
    path.write_text(json.dumps(found, indent=1) + "\n")


def metric_values() -> dict[Kind, float]:
    """Return each metric of fixed random numbers."""
    rng = np.random.default_rng(SEED)  # `random` of PCG64 is the same on every machine
    frames, reference = rng.random((600, 8)), rng.random((700, 8)) ** 1.5
    probabilities = [rng.random((5, 12)) ** 3 for _ in "gr"]
    ids = list("abcde")
    generated, expected = (
        {id: row / row.sum() for id, row in zip(ids, rows, strict=True)} for rows in probabilities
    )
    audio = {id: rng.random((2, 8)) - 0.5 for id in ids}
    text = {id: rng.random(8) - 0.5 for id in ids}
    gaussian = gaussian_of(reference)
    return {
        "fd": frechet_distance(gaussian_of(frames), gaussian).value,
        "fd-inf": frechet_infinity(frames, gaussian).value,
        "kad": kernel_distance(frames, reference).value,
        "kl": divergence(generated, expected, ids).values.mean,
        "clap": alignment_score(audio, text, ids).values.mean,
    }


def front_ends() -> Iterator[tuple[str, dict]]:
    """Yield what small random networks make of one sound, by the name of the front end and its version."""
    one = sound(SECONDS, RATE)
    stereo = torch.stack([one, 0.5 * one.flip(0)])
    with TemporaryDirectory() as folder:
        for embedder in _embedders(Path(folder)):
            protocol, rows = embedder.protocol(), embedder.embed(stereo, RATE, seed=1)
            numbers = [[float(f"{x:.6g}") for x in row[:_SHOWN].tolist()] for row in rows[[0, -1]]]
            name = f"{protocol['embedder']}, {protocol['front_end']}"
            version = protocol["front_end_version"]
            yield name, {"version": version, "rows": len(rows), "numbers": numbers}


def _embedders(folder: Path) -> Iterator[Embedder]:
    yield MelStatistics()
    openl3, passt = OpenL3Network((2, 2, 4, 4, 4, 4, 8), 8), PaSSTNetwork(12, 1, 2)
    musicnn = MusicnnNetwork()
    for network in (openl3, passt, musicnn):
        fill(network.eval().requires_grad_(False))
    yield OpenL3("openl3-env", openl3)
    yield OpenL3("openl3-env", openl3, "kapre-0.1.4")
    yield PaSST(passt)
    yield Musicnn("musicnn-mtt", musicnn, "")
    for name in ("clap-fused", "clap-unfused"):
        write_clap(folder / name, small_clap(fused=name == "clap-fused"))
        yield open_embedder(name, folder / name, "cpu")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

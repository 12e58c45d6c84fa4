"""Fit the tagger musicnn's head: a logistic regression from musicnn's embedding to "music".

    python scripts/fit_music_head.py TABLE.csv src/auralith/curation/tagging/music_head.json

TABLE.csv has the columns path, music (1 or 0) and license; only sounds under the licenses of `FREE` are used. Up to 36 s from
a third into each sound count, each sound as much as every other of its kind. Five-fold cross-validation over sounds chooses
the penalty. Needs `auralith weights fetch musicnn-msd`.
"""

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from auralith.embedders import open_embedder
from auralith.errors import AudioError
from auralith.files import file_hash, whole_file
from auralith.sound.extent import read_info
from auralith.sound.reading import read

NETWORK = "musicnn-msd"
FREE = ("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "public-domain", "MIT", "GPL-3.0-only OR CC-BY-3.0")
SECONDS = 36
PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FOLDS = 5


class Sounds(NamedTuple):
    """Embedded sounds."""

    rows: list[Float[Tensor, "window dim"]]
    music: list[bool]

    def part(self, fold: int, held_out: bool) -> "Sounds":
        """Return those of a fold, or all others."""
        chosen = [i for i in range(len(self.rows)) if (i % FOLDS == fold) == held_out]
        return Sounds([self.rows[i] for i in chosen], [self.music[i] for i in chosen])


class Head(NamedTuple):
    """Logit of music: `weights @ embedding + bias`."""

    weights: Float[Tensor, "dim"]
    bias: Float[Tensor, ""]


def embedded(table: Path) -> Sounds:
    """Return the windows of each usable sound of a table."""
    embedder, sounds = open_embedder(NETWORK, device="cpu"), Sounds([], [])
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["license"] not in FREE:
                continue
            try:
                info = read_info(row["path"])
                length = SECONDS * info.sample_rate
                start = max(0, info.num_samples - length) // 3
                part, sample_rate = read(row["path"], start, start + length)
                sounds.rows.append(embedder.embed(part, sample_rate))
            except AudioError as error:
                print(f"left out: {row['path']} ({error})", file=sys.stderr)
                continue
            sounds.music.append(row["music"] == "1")
    return sounds


def fitted(sounds: Sounds, penalty: float) -> Head:
    """Return the head of least weighted cross-entropy, with a penalty on its squared weights."""
    x, y, share = _stacked(sounds)
    mean, spread = x.mean(dim=0), x.std(dim=0) + 1e-3
    values = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([values], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = (x - mean) / spread @ values[:-1] + values[-1]
        entropy = binary_cross_entropy_with_logits(logits, y, share, reduction="sum")
        total = entropy + penalty * values[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    weights = (values[:-1] / spread).detach()
    return Head(weights, values[-1].detach() - weights @ mean)


def _stacked(sounds: Sounds) -> tuple[Tensor, Tensor, Tensor]:
    """Return windows, whether each is music, and its share: both kinds sum to a half, alike for all sounds."""
    x = torch.cat(sounds.rows).double()
    counts = torch.tensor([len(row) for row in sounds.rows])
    y = torch.tensor(sounds.music).repeat_interleave(counts).double()
    share = (1 / counts).repeat_interleave(counts).double()
    for kind in (0, 1):
        share[y == kind] /= 2 * share[y == kind].sum()
    return x, y, share


def chosen_penalty(sounds: Sounds) -> float:
    """Return the penalty of least cross-entropy on sounds that were held out."""

    def held_out(penalty: float) -> float:
        losses = []
        for fold in range(FOLDS):
            head = fitted(sounds.part(fold, False), penalty)
            x, y, share = _stacked(sounds.part(fold, True))
            logits = x @ head.weights + head.bias
            losses.append(binary_cross_entropy_with_logits(logits, y, share, reduction="sum"))
        return float(torch.stack(losses).mean())

    return min(PENALTIES, key=held_out)


def main(table: str, target: str) -> None:
    """Fit and write the head."""
    sounds = embedded(Path(table))
    penalty = chosen_penalty(sounds)
    head = fitted(sounds, penalty)
    made = {
        "network": NETWORK,
        "bias": round(float(head.bias), 6),
        "weights": [round(value, 6) for value in head.weights.tolist()],
        "music": sum(sounds.music),
        "others": len(sounds.music) - sum(sounds.music),
        "penalty": penalty,
        "table_sha256": file_hash(table),
    }
    with whole_file(target) as file:
        file.write(json.dumps(made).encode() + b"\n")
    print(f"{made['music']} tracks of music, {made['others']} other sounds, penalty {penalty:g}")


if __name__ == "__main__":
    main(*sys.argv[1:])

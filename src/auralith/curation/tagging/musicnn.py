"""musicnn as a tagger: the probability that a window of 3 s is music.

musicnn's own tags can't tell: it was trained on music alone and finds some tag in every sound, so that the largest tag
orders music above effects in 50 to 66 % of pairs. Its embedding can. A logistic regression on it, `music_head.json`, was
fitted by `scripts/fit_music_head.py` on tracks and effects of the games ufoai, naev, hyperrogue and endless-sky that are under
CC0, CC BY or in the public domain.
"""

import hashlib
from functools import cached_property
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float

from auralith.curation.tagging.meter import ClassSet, TaggerFacts, WeightsTagger
from auralith.embedders.musicnn import (
    HOP,
    SAMPLE_RATE,
    WINDOW_FRAMES,
    MusicnnNetwork,
    log_mel,
    read_musicnn,
    windows_of,
)
from auralith.errors import CheckpointError
from auralith.foreign import parse_json
from auralith.resources import choose_device
from auralith.weights import FoundWeights, find_weights

WINDOW_SAMPLES = WINDOW_FRAMES * HOP
_MUSIC = {0}
CLASS_SETS: dict[ClassSet, set[int]] = {"music_only": _MUSIC, "subtree": _MUSIC}
"""The one label, music, under the names that AudioSet's class and its subtree have."""


class MusicnnTagger(WeightsTagger):
    """musicnn, trained on the Million Song Dataset, with a head that tells music from other sounds.

    In a folder of weights it must be the published network.
    """

    facts = TaggerFacts(
        "musicnn", SAMPLE_RATE, WINDOW_SAMPLES, WINDOW_SAMPLES, num_labels=1, class_sets=CLASS_SETS
    )

    def weights_sha256(self) -> str:
        """Return the SHA-256 over the digests of the network's weights and of the head."""
        digests = (self._found.sha256, hashlib.sha256(_head_bytes()).hexdigest())
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    @cached_property
    def _found(self) -> FoundWeights:
        return find_weights(_head()["network"], self._weights)

    @cached_property
    def _network(self) -> MusicnnNetwork:
        found = self.weights_sha256()
        if self._sha256 and found != self._sha256.lower():
            raise CheckpointError(
                f"{self._found.path} with the head of this version has the SHA-256 {found}, not"
                f" {self._sha256}; leave --weights-sha256 out"
            )
        return read_musicnn(self._found.path).to(choose_device(self._device))

    @cached_property
    def _parameters(self) -> tuple[Float[torch.Tensor, " dim"], float]:
        head = _head()
        return torch.tensor(head["weights"], dtype=torch.float64), head["bias"]

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        """Return the probability of music; 0 for silence, where the network has nothing to go by."""
        if not waveform.any():
            return np.zeros((1, 1), np.float32)
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            window = windows_of(log_mel(torch.from_numpy(waveform).to(device)))
            embedding = self._network(window).embedding[0].double().cpu()
        weights, bias = self._parameters
        return (weights @ embedding + bias).sigmoid().float().reshape(1, 1).numpy()


def _head_bytes() -> bytes:
    return files("auralith.curation.tagging").joinpath("music_head.json").read_bytes()


def _head() -> dict:
    """Return the head: the name of its network, weights and bias."""
    return parse_json(_head_bytes())

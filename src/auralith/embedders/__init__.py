"""Embedders: networks that turn windows of sound into vectors, for metrics and for searches.

embedder        what every embedder is, and what they share: checks, level, windows, strict loading
registry        the list of embedders by name
openl3          OpenL3 mel256, for FD_openl3: its sound, its two front ends, the network
openl3_weights  its published weights, a Keras file
kaiser_best     the resampler inside OpenL3
winograd        3×3 convolutions in a quarter of the multiplications, for OpenL3 on CPUs
passt           PaSST, for KL_passt
clap            LAION-CLAP, of sounds and texts, through transformers
clap_front      what comes before CLAP's network
musicnn         50 tags and an embedding of music
mel             statistics of a log-mel spectrogram, without weights
"""

from auralith.embedders.embedder import Classifier, Embedder, ProtocolValue
from auralith.embedders.registry import EMBEDDERS, find_embedder, open_embedder

__all__ = ["EMBEDDERS", "Classifier", "Embedder", "ProtocolValue", "find_embedder", "open_embedder"]

"""Embeddings of files, kept in a folder so that nothing is embedded twice, whatever ends a run.

A file's rows are known by the SHA-256 of its content, and lie in a folder for the embedder's protocol. So a file that
changed, other weights or another window size are computed anew, and a file that was renamed is not.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from auralith.embedders import Classifier, Embedder
from auralith.errors import AudioError
from auralith.files import cached_file_hash, canonical_json, make_folder, whole_file
from auralith.sound.reading import read

Rows = Float[np.ndarray, "window dim"]


class EmbeddingCache:
    """Rows of sound files, by one embedder: embeddings, or the logits of its classes."""

    def __init__(self, folder: Path, embedder: Embedder, *, logits: bool = False) -> None:
        """Make the folder. Raises `ResourceError` where it can't be made."""
        self.embedder, self.logits = embedder, logits
        digest = hashlib.sha256(canonical_json(embedder.protocol()).encode()).hexdigest()
        kind = "logits" if logits else "embeddings"
        self.folder = folder / f"{embedder.name}-{kind}-{digest[:16]}"
        make_folder(self.folder)

    def rows(self, path: Path, seed: int = 0) -> Rows:
        """Return the rows of a file, computed if they are not kept yet. Raises `AudioError` as the embedder does."""
        kept = self.folder / f"{cached_file_hash(path)}-{seed}.npy"
        found = _read(kept)
        if found is not None:
            return found
        rows = self._computed(path, seed)
        _write(kept, rows)
        return rows

    def _computed(self, path: Path, seed: int) -> Rows:
        waveform, sample_rate = read(path)
        if self.logits:
            assert isinstance(self.embedder, Classifier)
            return self.embedder.logits(waveform, sample_rate).numpy()
        return self.embedder.embed(waveform, sample_rate, seed).numpy()

    def collected(
        self,
        paths: Mapping[str, Path],
        on_file: Callable[[int], None],
        seeds: Callable[[str], int] = lambda id: 0,
    ) -> tuple[dict[str, Rows], dict[str, str]]:
        """Return the rows of each id, and why others have none; `on_file` is told how many files are done."""
        found: dict[str, Rows] = {}
        failed: dict[str, str] = {}
        for done, (id, path) in enumerate(paths.items(), 1):
            try:
                found[id] = self.rows(path, seeds(id))
            except AudioError as error:
                failed[id] = f"{error.reason_code}: {error}"
            on_file(done)
        return found, failed


def crop_seed(id: str, draw: int = 0) -> int:
    """Return the seed of a sound's random crops: its own for each id and draw, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{id}\0{draw}".encode()).digest()[:4], "big")


def unique_rows(rows: Mapping[str, Rows], paths: Mapping[str, Path]) -> Iterator[Rows]:
    """Yield the rows of each file once, though several ids may share it."""
    seen: set[Path] = set()
    for id, frames in rows.items():
        if paths[id] not in seen:
            seen.add(paths[id])
            yield frames


def class_probabilities(logits: Float[np.ndarray, "window class"]) -> Float[np.ndarray, " class"]:
    """Return the softmax of the logits' mean over windows, as stable-audio-metrics collects them."""
    mean = logits.astype(np.float64).mean(axis=0)
    exponents = np.exp(mean - mean.max())
    return exponents / exponents.sum()


def _write(path: Path, rows: Rows) -> None:
    """Write rows as a .npy file whose last 32 bytes are the SHA-256 of those before, which other readers ignore."""
    memory = io.BytesIO()
    np.save(memory, rows, allow_pickle=False)
    with whole_file(path) as file:
        file.write(memory.getvalue())
        file.write(hashlib.sha256(memory.getvalue()).digest())


def _read(path: Path) -> Rows | None:
    """Return rows that were kept; None where there are none, or they are damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    size = hashlib.sha256().digest_size
    if hashlib.sha256(content[:-size]).digest() != content[-size:]:
        return None
    return np.load(io.BytesIO(content), allow_pickle=False)

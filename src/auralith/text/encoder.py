"""Text encoders: prompts → states, and the files that hold one, in the form of the transformers library.

Each kind has a file beside this one; a model's family names the kind that its text condition needs.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auralith.errors import CheckpointError, shown
from auralith.foreign import Json, read_json, rust_errors
from auralith.models.lazy_tensor import Weights
from auralith.models.text_network import TextNetwork
from auralith.tensor_files import find_component, read_component, write_json, write_safetensors
from auralith.text.tokenizer import FastTokenizer, Tokenizer
from auralith.text.tokenizer_files import TOKENIZER_FILES, TOKENIZER_SETTINGS, copy_tokenizer
from auralith.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextStates:
    """Text tokens, and which rows are real; the others are zero, or what a model was trained to put there."""

    states: Float[Tensor, "batch token dim"]
    mask: Bool[Tensor, "batch token"]

    def mean(self) -> Float[Tensor, "batch dim"]:
        """Return the mean over the real rows."""
        return (self.states * self.mask.unsqueeze(-1)).sum(1) / self.mask.sum(
            1, keepdim=True
        ).clamp(min=1)


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A text encoder with its tokenizer."""

    model: TextNetwork
    tokenizer: Tokenizer

    @property
    def width(self) -> int:
        """Width of its states."""
        return self.model.embedding.embedding_dim

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    def unknown_words(self, texts: Iterable[str]) -> list[str]:
        """Return the words of texts that the model has not learned, each once, in their order, as far as can be told."""
        vocabulary = self._vocabulary
        if vocabulary is None:
            return []
        return list(dict.fromkeys(word for text in texts for word in vocabulary.unknown(text)))

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        backend = self.tokenizer.backend
        return None if backend is None else Vocabulary(backend)

    def encode(self, prompts: Sequence[str], max_tokens: int) -> TextStates:
        """Return the states of prompts, each cut to `max_tokens` (end token included) with a warning that shows the cut.

        Raises:
            CheckpointError: the tokenizer fails on a text, as its file lacks a part, or belongs to another text encoder.
        """
        with rust_errors(self._refused):
            rows = [self._tokens(prompt, max_tokens) for prompt in prompts]
        highest, known = (
            max(map(max, filter(None, rows)), default=0),
            self.model.embedding.num_embeddings,
        )
        if highest >= known:
            raise self._refused(f"it gives token {highest}, and the text encoder has {known}")
        ids = torch.full((len(rows), max_tokens), self.tokenizer.pad_id)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=ids.dtype)
            mask[index, : len(row)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        states = self.model(ids, mask)
        return TextStates(states.float() * mask.unsqueeze(-1), mask.bool())

    def _tokens(self, prompt: str, limit: int) -> list[int]:
        tokenizer = self.tokenizer
        ids, room = tokenizer.ids(prompt), limit - tokenizer.num_special_tokens
        if len(ids) <= limit:
            return ids
        kept, cut = tokenizer.decode(ids[:room]), tokenizer.decode(ids[room:])
        log.warning(
            "prompt has %d tokens, the limit is %d: kept %r, cut %r", len(ids), limit, kept, cut
        )
        return tokenizer.ids(prompt, limit)

    def _refused(self, reason: str) -> CheckpointError:
        name = self.tokenizer.name
        return CheckpointError(f"the tokenizer in {name} can't be used: {reason:.200}")


@dataclass(frozen=True)
class TextEncoderFolders:
    """Folders of the model (config.json, model.safetensors) and the tokenizer; often the same."""

    model: Path
    tokenizer: Path


@dataclass(frozen=True)
class TextEncoderKind:
    """Functions that open, copy and write one kind of text encoder."""

    title: str
    """Its name in messages, with an article."""
    size: int
    """Parameters per squared width, at the published width."""
    subfolder: str
    """Names the folder where it lies beside a checkpoint in the single-file layout."""
    beside: tuple[str, ...]
    """Patterns of its files in a repository of a checkpoint in the single-file layout."""
    alone: tuple[str, ...]
    """Patterns of its files in a repository without a folder for it."""
    find: Callable[[Path], TextEncoderFolders | None]
    """Finds one in a folder, in its `subfolder`, or in its `text_encoder/` and `tokenizer/`."""
    open: Callable[..., TextEncoder]
    """Opens one in eval mode: (folders, width, device, dtype, variant=None). Raises CheckpointError, also for states of
    another width than asked for; None takes any."""
    copy: Callable[..., None]
    """Copies the files: (source, target, max_tokens=None). The limit is written where diffusers looks for it."""
    save: Callable[..., None]
    """Writes one in the form of the transformers library: (folder, text, dtype=None), with None in its own format."""


def copy_text_encoder(
    source: TextEncoderFolders, target: TextEncoderFolders, max_tokens: int | None = None
) -> None:
    """Copy the files; `max_tokens` is written as the tokenizer's limit, where diffusers looks for it."""
    path = find_component(source.model, "model")
    write_safetensors(target.model / "model.safetensors", read_component(path))
    write_json(target.model / "config.json", read_json(source.model / "config.json"))
    copy_tokenizer(source.tokenizer, target.tokenizer)
    if max_tokens is not None:
        settings = target.tokenizer / TOKENIZER_SETTINGS
        existing = read_json(settings) if settings.is_file() else {}
        write_json(settings, existing | {"model_max_length": max_tokens})


def write_text_encoder(
    folder: Path, weights: Weights, config: Json, tokenizer: Tokenizer, dtype: torch.dtype | None
) -> None:
    """Write weights, in their own format if `dtype` is None, config and tokenizer into one folder."""
    assert isinstance(tokenizer, FastTokenizer)
    if dtype is not None:
        weights = {name: tensor.cast(dtype) for name, tensor in weights.items()}
    write_safetensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", config)
    tokenizer.save(folder)


def find_text_encoder(
    model_type: str, subfolders: Sequence[str], folder: Path
) -> TextEncoderFolders | None:
    """Find one in subfolders, in a folder's `text_encoder/` and `tokenizer/`, or in the folder itself."""
    beside = [(folder / name, folder / name) for name in subfolders]
    diffusers = (folder / "text_encoder", folder / "tokenizer")
    for model, tokenizer in (*beside, diffusers, (folder, folder)):
        has_tokenizer = any((tokenizer / name).is_file() for name in TOKENIZER_FILES)
        if has_tokenizer and is_of_type(model, model_type):
            return TextEncoderFolders(model, tokenizer)
    return None


def is_of_type(folder: Path, model_type: str) -> bool:
    """Return whether the model in a folder is of a type of the transformers library."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == model_type


def require_width(found: int, wanted: int | None, folder: Path) -> None:
    """Raise CheckpointError for states of another width than the diffusion model needs; None takes any."""
    if wanted is not None and found != wanted:
        raise CheckpointError(
            f"the text encoder in {folder} is {found} wide, but the model needs {wanted}; name another one"
        )


def require_sizes(data: Json, largest: Mapping[str, int], path: Path, title: str) -> None:
    """Raise CheckpointError for sizes beyond any such encoder's: layers are built one by one, before weights are seen."""
    for name, limit in largest.items():
        value = data.get(name)
        if value is not None and (type(value) is not int or not 0 < value <= limit):
            raise CheckpointError(
                f"{path} is no {title} config: {name} is {shown(value)}, not a whole number from 1 to {limit:,}"
            )

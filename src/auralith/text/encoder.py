"""Text encoders of the transformers library: prompts → states, and the files that hold one.

Each kind has a file beside this one; a model's family names the kind that its text condition needs.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auralith.errors import CheckpointError
from auralith.foreign import rust_errors
from auralith.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import transformers  # slow to import

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextStates:
    """Text tokens with padding rows set to zero, and which rows are real."""

    states: Float[Tensor, "batch token dim"]
    mask: Bool[Tensor, "batch token"]

    def mean(self) -> Float[Tensor, "batch dim"]:
        return self.states.sum(1) / self.mask.sum(1, keepdim=True).clamp(min=1)


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A text encoder with its tokenizer."""

    model: "transformers.PreTrainedModel"
    tokenizer: "transformers.PreTrainedTokenizerBase"

    @property
    def width(self) -> int:
        """Width of its states."""
        return self.model.config.hidden_size

    @property
    def device(self) -> torch.device:
        return self.model.device

    def unknown_words(self, texts: Iterable[str]) -> list[str]:
        """Return the words of texts that the model has not learned, each once, in their order, as far as can be told."""
        vocabulary = self._vocabulary
        if vocabulary is None:
            return []
        return list(dict.fromkeys(word for text in texts for word in vocabulary.unknown(text)))

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)  # slow tokenizers have none
        return None if backend is None else Vocabulary(backend)

    def encode(self, prompts: Sequence[str], max_tokens: int) -> TextStates:
        """Return the states of prompts, each cut to `max_tokens` (end token included) with a warning that shows the cut.

        Raises:
            CheckpointError: the tokenizer fails on a text, as its file lacks a part, or belongs to another text encoder.
        """
        for prompt in prompts:
            self._warn_of_cut(prompt, max_tokens)
        encoded = self._tokenized(
            prompts,
            truncation=True,
            max_length=max_tokens,
            padding="max_length",
            return_tensors="pt",
        )
        highest, known = int(encoded["input_ids"].max()), self.model.config.vocab_size
        if highest >= known:
            raise self._refused(f"it gives token {highest}, and the text encoder has {known}")
        ids, mask = encoded["input_ids"].to(self.device), encoded["attention_mask"].to(self.device)
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return TextStates(states.float() * mask.unsqueeze(-1), mask.bool())

    def _warn_of_cut(self, prompt: str, limit: int) -> None:
        # not verbose: transformers would warn too, that the model fails on what is cut off here
        (ids,) = self._tokenized([prompt], truncation=False, verbose=False)["input_ids"]
        if len(ids) > limit:
            kept = self.tokenizer.decode(ids[: limit - 1], skip_special_tokens=True)
            cut = self.tokenizer.decode(ids[limit - 1 :], skip_special_tokens=True)
            log.warning(
                "prompt has %d tokens, the limit is %d: kept %r, cut %r", len(ids), limit, kept, cut
            )

    def _tokenized(self, texts: Sequence[str], **options: Any) -> "transformers.BatchEncoding":
        with rust_errors(self._refused):
            return self.tokenizer(list(texts), **options)

    def _refused(self, reason: str) -> CheckpointError:
        name = self.tokenizer.name_or_path
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
    subfolder: str
    """Names the folder where it lies beside a checkpoint in the single-file layout."""
    find: Callable[[Path], TextEncoderFolders | None]
    """Finds one in a folder, in its `subfolder`, or in its `text_encoder/` and `tokenizer/`."""
    open: Callable[..., TextEncoder]
    """Opens one in eval mode: (folders, width, device, dtype, variant=None). Raises CheckpointError, also for states of
    another width than asked for; None takes any."""
    copy: Callable[..., None]
    """Copies the files: (source, target, max_tokens=None). The limit is written where diffusers looks for it."""
    save: Callable[..., None]
    """Writes one in the form of the transformers library: (folder, text, dtype=None), with None in its own format."""

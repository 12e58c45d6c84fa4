"""Training the small text encoder: a T5 encoder learns to tell from a caption what its sound is.

The published model uses a pretrained T5, frozen. Ours is trained first, on captions alone, to predict the kind, the
descriptors, the tempo and the pitch from the mean of its output tokens; then it is frozen too. Tokens that name a
number or a note have fixed embeddings made of sines of their log₂ value, so that values never seen in training lie
between their neighbors.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from auralith.data.synth import KINDS, Sound, axes_of, caption, draw_sound, numeric_value

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
NOTES = tuple(f"{n}{o}" for o in range(9) for n in "c c# d d# e f f# g g# a a# b".split())
NUMBERS = tuple(str(n) for n in (*range(2_001), *range(2_050, 20_001, 50)))
WORD = r"[a-g]#?[0-8](?![a-z0-9])|[0-9]+|[a-z]+|[^\sa-z0-9]"
DESCRIPTORS = tuple(sorted({word for kind in KINDS for axis in axes_of(kind) for word in axis}))
CYCLES_PER_OCTAVE = tuple(2.0**e for e in np.arange(-4, 3.51, 0.5))


@dataclass(frozen=True)
class TextSettings:
    d_model: int = 192
    d_ff: int = 384
    layers: int = 2
    heads: int = 4
    max_tokens: int = 32
    vocabulary_captions: int = 40_000
    batch_size: int = 256
    unknown_rate: float = 0.03


def build_tokenizer(captions: Iterable[str], max_tokens: int) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of the captions' words, all numbers and notes, and single characters for the rest."""
    splitter = pre_tokenizers.Split(Regex(WORD), behavior="isolated")
    counts: Counter[str] = Counter()
    for text in captions:
        counts.update(piece.strip() for piece, _ in splitter.pre_tokenize_str(text.lower()))
    letters = [chr(c) for c in range(33, 127)]
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    pieces = dict.fromkeys(
        [PAD, END, UNKNOWN, *NUMBERS, *NOTES, *letters, *(f"##{c}" for c in letters), *words]
    )
    pieces.pop("", None)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=40)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), splitter])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=max_tokens,
    )


def numeric_features(value: float) -> Float[Tensor, " feature"]:
    """Sines and cosines of log₂ of a value at several rates per octave."""
    angles = 2 * math.pi * math.log2(max(value, 0.5)) * torch.tensor(CYCLES_PER_OCTAVE)
    return torch.cat((angles.sin(), angles.cos()))


class TextNetwork(nn.Module):
    """The encoder and the heads that are thrown away after training."""

    def __init__(self, settings: TextSettings, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.encoder = T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=settings.d_model,
                d_kv=settings.d_model // settings.heads,
                d_ff=settings.d_ff,
                num_layers=settings.layers,
                num_heads=settings.heads,
                dropout_rate=0.0,
                feed_forward_proj="relu",
                pad_token_id=0,
                eos_token_id=1,
            )
        )
        width = settings.d_model
        self.kind = nn.Linear(width, len(KINDS))
        self.descriptors = nn.Linear(width, len(DESCRIPTORS))
        self.tempo = nn.Linear(width, 2 * len(CYCLES_PER_OCTAVE))
        self.pitch = nn.Linear(width, 2 * len(CYCLES_PER_OCTAVE))
        self._fix_numbers(tokenizer)

    def _fix_numbers(self, tokenizer: PreTrainedTokenizerFast) -> None:
        embedding = self.encoder.get_input_embeddings().weight
        trained = torch.ones(len(tokenizer), 1)
        with torch.no_grad():
            embedding.normal_(std=0.5)
            for token, index in tokenizer.get_vocab().items():
                value = numeric_value(token)
                if value is not None:
                    features = numeric_features(value)
                    embedding[index].zero_()
                    embedding[index, : len(features)] = features
                    embedding[index, len(features)] = 2.0 if token[0].isdigit() else -2.0
                    trained[index] = 0.0
        embedding.register_hook(lambda gradient: gradient * trained)

    def forward(self, ids: Tensor, mask: Tensor) -> Float[Tensor, "batch dim"]:
        """Mean of the output tokens."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


class TextTask:
    name = "text"

    def __init__(
        self, network: TextNetwork, tokenizer: PreTrainedTokenizerFast, settings: TextSettings
    ) -> None:
        self.network, self.tokenizer, self.settings = network, tokenizer, settings

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        sounds = [draw_sound(rng) for _ in range(self.settings.batch_size)]
        encoded = self.tokenizer(
            [caption(sound, rng) for sound in sounds],
            truncation=True,
            max_length=self.settings.max_tokens,
            padding=True,
            return_tensors="pt",
        )
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        # words that were never seen must not upset the rest
        unknown = torch.rand(ids.shape, generator=generator) < self.settings.unknown_rate
        ids = torch.where(unknown & (ids >= 3 + len(NUMBERS) + len(NOTES)), 2, ids)
        return attribute_losses(self.network, self.network(ids, mask).float(), sounds)


def attribute_losses(
    network: TextNetwork, pooled: Float[Tensor, "batch dim"], sounds: list[Sound]
) -> dict[str, Tensor]:
    kinds = torch.tensor([KINDS.index(sound.kind) for sound in sounds])
    described = torch.tensor(
        [[float(word in sound.descriptors) for word in DESCRIPTORS] for sound in sounds]
    )
    return {
        "kind": F.cross_entropy(network.kind(pooled), kinds),
        "descriptors": F.binary_cross_entropy_with_logits(network.descriptors(pooled), described),
        "tempo": _value_loss(network.tempo(pooled), [sound.bpm for sound in sounds]),
        "pitch": _value_loss(network.pitch(pooled), [sound.hz for sound in sounds]),
    }


def _value_loss(predicted: Float[Tensor, "batch feature"], values: list[float | None]) -> Tensor:
    """Squared error of the numeric features, over the sounds that have the value."""
    chosen = [index for index, value in enumerate(values) if value is not None]
    target = torch.stack([numeric_features(value) for value in values if value is not None])
    return (predicted[chosen] - target).square().mean()

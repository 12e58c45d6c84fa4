"""Training the small text encoder: a T5 encoder learns to tell from a caption what its sound is.

The published model uses a pretrained T5, frozen. Ours is trained first, on captions alone, to predict the classes, the
descriptors, the tempo and the pitch of a sound from the mean of its output tokens; then it is frozen too. Tokens that name a
number or a note have fixed embeddings made of sines of their log₂ value, so that values never seen in training lie
between their neighbors.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Batch, Share, item_rng
from recipes.tiny.corpus import Corpus, Describable
from recipes.tiny.synth import numeric_value

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
NOTES = tuple(f"{n}{o}" for o in range(9) for n in "c c# d d# e f f# g g# a a# b".split())
NUMBERS = tuple(str(n) for n in (*range(2_001), *range(2_050, 20_001, 50)))
WORD = r"[a-g]#?[0-8](?![a-z0-9])|[0-9]+|[a-z]+|[^\sa-z0-9]"
NONE = -1
"""Class of a sound that has none."""
VALUES = {
    "tempo": tuple(range(40, 241)),
    "pitch": tuple(440.0 * 2 ** (k / 12) for k in range(-57, 51)),
}
"""What a tempo in bpm and a pitch in Hz are told apart from."""
VALIDATION_STEP = 2**40
"""Beyond all steps of training."""
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
    descriptor_weight: float = 1.0
    """Weight of the mean error of all descriptors, each of which few captions have."""
    value_weight: float = 1.0
    """Weight of the mean error of the features of tempo and pitch."""
    validation_captions: int = 1_024


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

    def __init__(
        self, settings: TextSettings, tokenizer: PreTrainedTokenizerFast, corpus: Corpus[Any]
    ) -> None:
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
        sizes = {name: len(classes) for name, classes in corpus.labels.items()}
        sizes["descriptors"] = len(corpus.descriptors)
        sizes["tempo"] = sizes["pitch"] = 2 * len(CYCLES_PER_OCTAVE)
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})
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

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Float[Tensor, "batch feature"]]:
        """What the heads tell from the mean of the output tokens."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return {name: head(pooled) for name, head in self.heads.items()}


class TextTask:
    name = "text"

    def __init__(
        self,
        network: TextNetwork,
        tokenizer: PreTrainedTokenizerFast,
        corpus: Corpus[Any],
        settings: TextSettings,
        optimization: OptimizerSettings,
        seed: int,
    ) -> None:
        self.networks: dict[str, nn.Module] = {"text": network}
        self.optimization = {"text": optimization}
        self.tokenizer, self.corpus = tokenizer, corpus
        self.settings, self.seed = settings, seed

    def turn(self, step: int) -> str:
        return "text"

    def batch(self, step: int, share: Share) -> Batch:
        rngs = [item_rng(self.seed, step, p) for p in share.positions(self.settings.batch_size)]
        sounds = [self.corpus.draw(rng) for rng in rngs]
        encoded = self.tokenizer(
            [self.corpus.caption(sound, rng) for sound, rng in zip(sounds, rngs, strict=True)],
            truncation=True,
            max_length=self.settings.max_tokens,
            padding=True,
            return_tensors="pt",
        )
        ids = encoded["input_ids"]
        # words that were never seen must not upset the rest
        rates = torch.from_numpy(np.stack([rng.random(ids.shape[1]) for rng in rngs]))
        unknown = rates < self.settings.unknown_rate
        ids = torch.where(unknown & (ids >= 3 + len(NUMBERS) + len(NOTES)), 2, ids)
        return {"ids": ids, "mask": encoded["attention_mask"]} | attributes(sounds, self.corpus)

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        told = networks["text"](batch["ids"], batch["mask"])
        losses = attribute_losses({name: value.float() for name, value in told.items()}, batch)
        weights = {"descriptors": self.settings.descriptor_weight}
        weights |= dict.fromkeys(VALUES, self.settings.value_weight)
        return {name: weights.get(name, 1.0) * loss for name, loss in losses.items()}

    def validate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return the share that is told rightly of what captions of no training step say, by its name; none if none says it."""
        rights: dict[str, list[Tensor]] = {}
        size = self.settings.batch_size
        for part in range(-(-self.settings.validation_captions // size)):
            batch = self.batch(VALIDATION_STEP + part, Share(0, 1))
            told = networks["text"](batch["ids"], batch["mask"])
            for name, right in told_rightly(told, batch):
                rights.setdefault(name, []).append(right)
        answers = {name: torch.cat(found) for name, found in rights.items()}
        return {name: float(a.float().mean()) for name, a in answers.items() if len(a)}


def attributes(sounds: Sequence[Describable], corpus: Corpus[Any]) -> Batch:
    """Return what the heads are to tell: NaN where a sound has no tempo or no pitch, NONE where it has no class."""
    nothing = torch.full((2 * len(CYCLES_PER_OCTAVE),), float("nan"))
    tempo = [nothing if s.bpm is None else numeric_features(s.bpm) for s in sounds]
    pitch = [nothing if s.hz is None else numeric_features(s.hz) for s in sounds]
    says = [[float(word in sound.descriptors) for word in corpus.descriptors] for sound in sounds]
    return _classes(sounds, corpus) | {
        "descriptors": torch.tensor(says),
        "tempo": torch.stack(tempo),
        "pitch": torch.stack(pitch),
    }


def _classes(sounds: Sequence[Describable], corpus: Corpus[Any]) -> Batch:
    labels = [corpus.label(sound) for sound in sounds]
    places = {
        name: {one: index for index, one in enumerate(classes)}
        for name, classes in corpus.labels.items()
    }
    return {
        name: torch.tensor([known[one[name]] if name in one else NONE for one in labels])
        for name, known in places.items()
    }


def attribute_losses(told: Mapping[str, Tensor], target: Batch) -> dict[str, Tensor]:
    """Return the error of each head; of a class, over the sounds that have one."""
    losses = {
        "descriptors": F.binary_cross_entropy_with_logits(
            told["descriptors"], target["descriptors"]
        ),
        "tempo": _value_loss(told["tempo"], target["tempo"]),
        "pitch": _value_loss(told["pitch"], target["pitch"]),
    }
    classes = {name: value for name, value in told.items() if name not in losses}
    return losses | {name: _class_loss(value, target[name]) for name, value in classes.items()}


def told_rightly(told: Mapping[str, Tensor], target: Batch) -> Iterator[tuple[str, Tensor]]:
    """Yield names and which of the sounds that have something of the name are told rightly.

    A value is told by the nearest one of `VALUES`, a descriptor by more than one half.
    """
    for name, value in told.items():
        wanted = target[name]
        if name == "descriptors":
            yield name, (value > 0)[wanted > 0]
        elif name in VALUES:
            features = torch.stack([numeric_features(one) for one in VALUES[name]]).float()
            stated = wanted.isfinite().all(-1)
            nearest = [torch.cdist(x.float(), features).argmin(-1) for x in (value, wanted)]
            yield name, (nearest[0] == nearest[1])[stated]
        else:
            yield name, (value.argmax(-1) == wanted)[wanted != NONE]


def _class_loss(
    told: Float[Tensor, "batch class"], target: Int64[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Return the cross entropy over the sounds that have a class; zero if none has."""
    total = F.cross_entropy(told, target, ignore_index=NONE, reduction="sum")
    return total / (target != NONE).sum().clamp(min=1)


def _value_loss(told: Float[Tensor, "batch feature"], target: Float[Tensor, "batch feature"]):
    """Squared error of the numeric features, over the sounds that have the value."""
    stated = target.isfinite()
    return torch.where(stated, told - target.nan_to_num(), 0.0).square().sum() / stated.sum().clamp(
        min=1
    )

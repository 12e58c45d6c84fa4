"""Tokenizers, and whole text encoders, against those of the transformers library."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st

from auralith.errors import CheckpointError
from auralith.pipeline import EMBEDDED
from auralith.text.encoder import TextEncoder, TextEncoderFolders
from auralith.text.foreign_tokenizer import open_foreign_tokenizer
from auralith.text.t5 import T5
from auralith.text.t5gemma import T5GEMMA
from auralith.text.tokenizer import open_tokenizer
from auralith.text.tokenizer_files import TOKENIZER_SETTINGS
from tests.conftest import GOLDEN, relative_error

TEXTS = ["a drum loop, 120 bpm", "", "Café – naïve 𝄞 rain\tRAIN\n", "<pad> </s> x", "é" * 50]
FOLDERS = {
    "unigram": GOLDEN / "sao_tiny/t5",
    "words": GOLDEN / "v_bpm/t5",
    "embedded": EMBEDDED / "t5",
}
GEMMA = GOLDEN / "sa3/t5gemma"
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
PIECES = [("<pad>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN)] + [
    (piece, -1.5 - index, NORMAL)
    for index, piece in enumerate(
        ["▁", "▁drum", "s", "▁r", "ain", "a", "é", "r", "n", "120", "▁the"]
    )
]


def opened(folder: Path, kind: Any = T5) -> TextEncoder:
    return kind.open(TextEncoderFolders(folder, folder), None, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", FOLDERS)
def test_tokenizes_as_transformers(name: str) -> None:
    ours, theirs = open_tokenizer(FOLDERS[name]), open_foreign_tokenizer(FOLDERS[name])
    assert ours.pad_id == theirs.pad_token_id
    for text in TEXTS:
        assert_equal(ours, theirs, text)


def assert_equal(ours: Any, theirs: Any, text: str) -> None:
    whole = theirs(text, truncation=False, verbose=False)["input_ids"]
    assert ours.ids(text) == whole
    assert ours.decode(whole) == theirs.decode(whole, skip_special_tokens=True)
    for limit in (1, 2, 7, 500):
        assert ours.ids(text, limit) == theirs(text, truncation=True, max_length=limit)["input_ids"]


@pytest.mark.parametrize("kind", [T5, T5GEMMA], ids=["t5", "t5gemma"])
def test_states_are_those_of_transformers(kind: Any) -> None:
    """Texts, padding and cutting together, also after writing in its form."""
    import transformers

    folder = FOLDERS["unigram"] if kind is T5 else GEMMA
    special = kind is T5
    encoder = transformers.T5EncoderModel if kind is T5 else transformers.T5GemmaEncoderModel
    options = {} if kind is T5 else {"is_encoder_decoder": False, "attn_implementation": "eager"}
    model = encoder.from_pretrained(folder, **options).eval()
    texts = ["rain", *TEXTS, "rain " * 100]
    encoded = transformers.PreTrainedTokenizerFast.from_pretrained(folder)(
        texts,
        truncation=True,
        max_length=32,
        padding="max_length",
        return_tensors="pt",
        add_special_tokens=special,
    )
    with torch.inference_mode():
        states = model(**{n: encoded[n] for n in ("input_ids", "attention_mask")}).last_hidden_state
        found = opened(folder, kind).encode(texts, 32)
    assert torch.equal(found.mask, encoded["attention_mask"].bool())
    expected = states * encoded["attention_mask"].unsqueeze(-1)
    assert relative_error(found.states, expected) <= 1e-5


@pytest.mark.parametrize("kind", [T5, T5GEMMA], ids=["t5", "t5gemma"])
def test_what_is_written_opens_here_and_in_transformers(kind: Any, tmp_path: Path) -> None:
    import transformers

    folder = FOLDERS["unigram"] if kind is T5 else GEMMA
    first = opened(folder, kind)
    kind.save(tmp_path, first)
    again = opened(tmp_path, kind)
    assert again.model.config == first.model.config
    weights = again.model.state_dict()
    assert all(torch.equal(weights[n], t) for n, t in first.model.state_dict().items())
    encoder = transformers.T5EncoderModel if kind is T5 else transformers.T5GemmaEncoderModel
    theirs = encoder.from_pretrained(tmp_path).state_dict()
    assert theirs.keys() == weights.keys()
    assert all(torch.equal(theirs[n], t) for n, t in weights.items())
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0])["input_ids"]
    assert open_tokenizer(tmp_path).ids(TEXTS[0]) == tokens


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def write_pieces(path: Path, pieces: list[tuple[str, float, int]], kind: int = 1) -> None:
    """Write a file as sentencepiece does, with a field of each type that is skipped."""
    entries = (
        message(1, name.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(type_)
        for name, score, type_ in pieces
    )
    skipped = b"\x50\x96\x01" + b"\x59" + bytes(8)  # numbers of fields 10 and 11
    training = message(2, message(1, b"input.txt") + b"\x18" + varint(kind) + skipped)
    path.write_bytes(b"".join(message(1, entry) for entry in entries) + training + message(3, b""))


def write_folder(folder: Path, **options: Any) -> Path:
    write_pieces(folder / "spiece.model", PIECES, **options)
    (folder / TOKENIZER_SETTINGS).write_text('{"tokenizer_class": "T5Tokenizer"}')
    return folder


def test_the_file_of_sentencepiece_tokenizes_as_transformers(tmp_path: Path) -> None:
    from transformers import T5Tokenizer

    ours = open_tokenizer(write_folder(tmp_path))
    extra = [(f"<extra_id_{index}>", 0.0) for index in reversed(range(100))]
    theirs = T5Tokenizer(vocab=[(name, score) for name, score, _ in PIECES] + extra)
    assert ours.pad_id == theirs.pad_token_id == 0
    for text in (*TEXTS, "the drums  rain", "<extra_id_3> rain<unk>"):
        assert_equal(ours, theirs, text)


def test_the_file_of_sentencepiece_tokenizes_as_sentencepiece() -> None:
    """Both from release 0.2.3, trained with a map of characters of its own."""
    folder = GOLDEN / "sentencepiece"
    ours = open_tokenizer(folder)
    for case in json.loads((folder / "cases.json").read_text()):
        assert ours.ids(case["text"]) == case["ids"]


def test_the_file_of_sentencepiece_is_read_to_the_last_piece(tmp_path: Path) -> None:
    ours = open_tokenizer(write_folder(tmp_path))
    names = [name for name, _, _ in PIECES]
    found = [ours.backend.id_to_token(one) for one in ours.ids("drums rain the")]
    assert found == ["▁drum", "s", "▁r", "ain", "▁the", "</s>"]
    assert [ours.backend.id_to_token(i) for i in range(len(names))] == names
    assert ours.ids("<extra_id_99>")[0] == len(names)
    assert ours.ids("<extra_id_0>")[0] == len(names) + 99


def test_a_tokenizer_of_sentencepiece_is_saved_as_one_file(tmp_path: Path) -> None:
    first = open_tokenizer(write_folder(tmp_path))
    (tmp_path / "saved").mkdir()
    first.save(tmp_path / "saved")
    again = open_tokenizer(tmp_path / "saved")
    assert all(again.ids(text) == first.ids(text) for text in TEXTS)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data[:-1], "ends too early"),
        (lambda data: data.replace(b"</s>", b"</t>"), "no </s>"),
        (lambda data: data.replace(b"\x18\x02", b"\x18\x01"), "no token for what is unknown"),
        (lambda data: b"\x0b" + data, "a field of type 3"),
        (lambda data: b"\xff" * 20, "more than 10 bytes"),
        (lambda data: b"", "no token for what is unknown"),
        (lambda data: data + message(1, message(1, b"x" * 2_000)), "more than 1,000 characters"),
        (lambda data: data + message(1, message(1, b"\xff")), "can't decode byte"),
        (lambda data: data + message(1, b"\x18\x01"), "no text or no score"),
    ],
    ids=["cut", "end", "unknown", "group", "number", "empty", "long", "text", "score"],
)
def test_damaged_files_of_sentencepiece_are_refused(
    change: Any, expected: str, tmp_path: Path
) -> None:
    path = write_folder(tmp_path) / "spiece.model"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=f"no usable tokenizer: spiece.model .*{expected}"):
        open_tokenizer(tmp_path)


def test_a_byte_pair_model_is_not_taken_for_a_unigram_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="its type is 2"):
        open_tokenizer(write_folder(tmp_path, kind=2))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_tokenizer_or_refused(tmp_path_factory: Any, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "spiece.model").write_bytes(data)
    with pytest.raises(CheckpointError, match="no usable tokenizer"):
        open_tokenizer(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / TOKENIZER_SETTINGS).write_text("{}")
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor spiece\.model"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pad_token": {"content": "<pad>"}}, 0),
        ({"pad_token": "</s>"}, 1),
        ({"tokenizer_class": "T5Tokenizer"}, 0),
        ({"pad_token": "<missing>"}, None),
        ({"pad_token": 3}, None),
        ({"tokenizer_class": "Other"}, None),
    ],
)
def test_the_padding_token_is_the_one_that_is_stated(
    settings: dict[str, Any], expected: int | None, tmp_path: Path
) -> None:
    tokenizers.Tokenizer.from_file(str(FOLDERS["unigram"] / "tokenizer.json")).save(
        str(tmp_path / "tokenizer.json")
    )
    (tmp_path / TOKENIZER_SETTINGS).write_text(json.dumps(settings))
    if expected is not None:
        assert open_tokenizer(tmp_path).pad_id == expected
        return
    with pytest.raises(CheckpointError, match="no padding token"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"num_key_value_heads": 3}, "does not divide"),
        ({"head_dim": 15}, "head_dim is odd"),
        ({"rms_norm_eps": "x"}, "rms_norm_eps is 'x'"),
        ({"attn_logit_softcapping": 0}, "attn_logit_softcapping is 0"),
        ({"layer_types": ["chunked_attention"] * 2}, "layer_types is"),
        ({"layer_types": ["full_attention"]}, "layer_types is"),
        ({"layer_types": 3}, "layer_types is 3"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4}}, "rope_parameters is"),
        ({"hidden_activation": "evil"}, "hidden_activation is 'evil'"),
        ({"hidden_activation": ["gelu"]}, "hidden_activation is"),
        ({"attention_bias": "no"}, "attention_bias is 'no'"),
    ],
)
def test_configs_that_no_t5gemma_has_are_refused(
    changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    config = json.loads((GEMMA / "config.json").read_text())
    config["encoder"] |= changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"no T5Gemma config: .*{expected}"):
        opened(tmp_path, T5GEMMA)


@pytest.mark.parametrize(
    "changes",
    [
        {"feed_forward_proj": "gated-evil"},
        {"feed_forward_proj": 3},
        {"layer_norm_epsilon": "x"},
        {"layer_norm_epsilon": 0},
        {"relative_attention_num_buckets": 3},
        {"relative_attention_max_distance": 8},
    ],
)
def test_configs_that_no_t5_has_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    config = json.loads((FOLDERS["unigram"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=f"no T5 config: {next(iter(changes))} is"):
        opened(tmp_path)

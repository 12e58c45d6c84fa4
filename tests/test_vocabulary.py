"""The words that a model doesn't know."""

from pathlib import Path

import pytest

import auralith
from auralith.errors import CheckpointError
from auralith.server.words import KnownWords, prompts_of
from auralith.text.vocabulary import Vocabulary
from tests.conftest import GOLDEN

EMBEDDED = Path(auralith.__file__).parent / "embedded" / "t5"


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a slow techno loop at 118 bpm, in c#", []),
        ("A Glockenspiel; rain, a glockenspiel!", ["Glockenspiel", "glockenspiel"]),
        ("Ümläute und drums", ["Ümläute", "und"]),
        ("🎵 drums 日本", ["🎵", "日本"]),
        ("bells", []),  # of bell, with one letter more
        ("", []),
    ],
)
def test_the_embedded_model_says_which_words_it_has_not_learned(
    text: str, unknown: list[str]
) -> None:
    assert Vocabulary(EMBEDDED).unknown(text) == unknown


def test_pieces_of_words_are_known_where_a_tokenizer_has_them() -> None:
    assert Vocabulary(GOLDEN / "sao_tiny" / "t5").unknown("a glockenspiel in the rain") == []


def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(CheckpointError, match="can't be read as a tokenizer") as caught:
        Vocabulary(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_prompt_of_a_request_is_looked_at(tmp_path: Path) -> None:
    request = {
        "prompt": "glockenspiel",
        "mix": [[0.3, "a xylorimba"]],
        "prompts": [[2.0, "glockenspiel, theremin"]],
        "negative_prompt": "vuvuzela",
    }
    found = KnownWords(EMBEDDED).unknown(prompts_of(request))
    assert found == ["glockenspiel", "xylorimba", "vuvuzela"]
    assert KnownWords(None).unknown(prompts_of(request)) == []
    assert KnownWords(tmp_path).unknown(prompts_of(request)) == []

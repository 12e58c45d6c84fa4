"""The words that a model doesn't know."""

import json
import re
from pathlib import Path

import pytest

import auralith
from auralith.cli.main import run
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
    assert Vocabulary.read(EMBEDDED).unknown(text) == unknown


def test_pieces_of_words_are_known_where_a_tokenizer_has_them() -> None:
    assert Vocabulary.read(GOLDEN / "sao_tiny" / "t5").unknown("a glockenspiel in the rain") == []


def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(CheckpointError, match="can't be read as a tokenizer") as caught:
        Vocabulary.read(tmp_path)
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


def test_words_are_listed_by_part_or_glob() -> None:
    vocabulary = Vocabulary.read(EMBEDDED)
    every = vocabulary.words()
    assert every is not None and every == sorted(every)
    assert {"drum", "rain"} <= set(every)
    assert not {"a", "c#4", "120", "##m", "<unk>"} & set(every)
    assert vocabulary.words("DRUM") == [word for word in every if "drum" in word]
    assert vocabulary.words("dru?") == ["drum"]
    assert vocabulary.words("xylorimba") == []
    assert vocabulary.unknown(" ".join(every)) == []


def test_a_tokenizer_of_parts_of_words_has_no_list_and_knows_all() -> None:
    parts = Vocabulary.read(GOLDEN / "sao_tiny" / "t5")
    assert parts.words() is None
    assert parts.unknown("glockenspiel 日本 🎵") == []


def test_words_that_carry_a_sentence_are_not_called_unknown() -> None:
    assert Vocabulary.read(EMBEDDED).unknown("please give me some would-be glockenspiel") == [
        "glockenspiel"
    ]


def test_the_command_lists_words_with_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["words", "drum"]) == 0
    lines = capsys.readouterr().out.splitlines()
    word, _, example = next(line for line in lines if line.startswith("drum ")).partition("  ")
    assert word == "drum" and re.search(r"\bdrum\b", example.lower())
    assert run(["words", "rain", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["words"]
    assert any(one["word"] == "rain" and "rain" in one["example"].lower() for one in found)


def test_the_command_says_why_it_has_nothing_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["words", "xylorimba"]) == 2
    assert "knows no word like 'xylorimba'" in capsys.readouterr().err
    assert run(["words", "--model", str(GOLDEN / "sao_tiny")]) == 2
    assert "reads every word by its parts" in capsys.readouterr().err


def test_a_sound_warns_of_words_that_its_model_does_not_know() -> None:
    model = auralith.load(device="cpu")
    request = auralith.GenerationRequest(
        "a dog barking, brrzt", seconds_total=0.2, steps=1, seed=1, negative_prompt="vuvuzela"
    )
    unknown = model.unknown_words(request)
    assert "brrzt" in unknown and unknown[-1] == "vuvuzela"
    sound = model.generate(request)
    assert sound.warnings[-1] == f"it does not know: {', '.join(unknown)}"
    known = model.generate(auralith.GenerationRequest("rain", seconds_total=0.2, steps=1, seed=1))
    assert not any("does not know" in warning for warning in known.warnings)

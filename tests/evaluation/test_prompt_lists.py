"""Lists of prompts: ids, published columns, and the paper's subsets with their faults."""

from pathlib import Path

import pytest

from auralith.errors import InvalidRequest
from auralith.evaluation.prompts import (
    CONNECTORS,
    SPEECH,
    SUBSETS,
    read_prompts,
    split_subset,
    without_words,
)


def table(tmp_path: Path, text: str, name: str = "list.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_audiocaps_is_known_by_its_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "audiocap_id,youtube_id,start_time,caption\n7,abc,20,A dog barks\n")
    found = read_prompts(path)
    assert (found.name, found.seconds, found.content) == ("audiocaps", 10.0, "env")
    (prompt,) = found.prompts
    assert (prompt.id, prompt.text, prompt.references) == ("7", "A dog barks", ("abc",))


def test_song_describer_is_known_by_its_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "caption_id,track_id,caption\n859,1004034,Slow piano\n")
    found = read_prompts(path)
    assert (found.name, found.seconds, found.content) == ("songdescriber", 47.0, "music")
    assert found.prompts[0].references == ("1004034",)


def test_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    found = read_prompts(table(tmp_path, "prompt,seconds\nrain,2.5\nwind,\n"))
    assert found.ids == ("0001", "0002")
    assert [prompt.seconds for prompt in found.prompts] == [2.5, None]
    assert found.content is None


def test_lines_of_a_text_file(tmp_path: Path) -> None:
    found = read_prompts(table(tmp_path, "\ufeffrain\n\n  wind  \n", "list.txt"))
    assert [prompt.text for prompt in found.prompts] == ["rain", "wind"]


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("word", [*SPEECH, *CONNECTORS])
def test_a_word_inside_another_drops_a_caption_but_not_in_capitals(subset: str, word: str) -> None:
    from auralith.evaluation.prompts import Prompt, PromptList

    texts = [f"x{word}y", f"X{word.upper()}Y", "ping"]
    prompts = PromptList("any", tuple(Prompt(str(i), text) for i, text in enumerate(texts)))
    kept = [prompt.text for prompt in without_words(prompts, subset).prompts]
    # "woman" holds "man", "before" nothing of another list: a word of the list drops its caption, others don't
    dropped = any(listed in texts[0] for listed in SUBSETS[subset])
    assert kept == texts[1:] if dropped else kept == texts


def test_the_paper_counts_on_the_sample(tmp_path: Path) -> None:
    captions = ["A man was here", "Gas hissing", "Many birds", "Rain", "A bell, then a horn"]
    path = table(tmp_path, "id,caption\n" + "\n".join(f'{i},"{t}"' for i, t in enumerate(captions)))
    counts = {name: len(read_prompts(path, name).prompts) for name in SUBSETS}
    # "Gas" and "was" hold "as", "Many" holds no "man": the rule is case-sensitive, "any" is inside it
    assert counts == {"no-speech": 4, "no-connectors": 2, "neither": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt\n", "has no rows"),
        ("sound\nrain\n", "has no column prompt or caption"),
        ("id,prompt\n1,rain\n1,wind\n", "comes twice"),
        ("id,prompt\n1,\n", "has no prompt"),
        ("prompt,seconds\nrain,long\n", "seconds is 'long'; give a number"),
    ],
)
def test_what_a_list_lacks_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        read_prompts(table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_an_unknown_or_empty_subset_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "prompt\na man speaking\n")
    with pytest.raises(InvalidRequest, match=r"subset 'quiet' is unknown; use no-speech"):
        read_prompts(path, "quiet")
    with pytest.raises(InvalidRequest, match="without the words of no-speech"):
        read_prompts(path, "no-speech")


def test_a_name_and_its_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_subset("audiocaps:no-speech") == ("audiocaps", "no-speech")
    assert split_subset("songdescriber:no-singing") == ("songdescriber:no-singing", None)
    assert split_subset("list.csv") == ("list.csv", None)
    Path("odd:neither").write_text("rain\n")
    assert split_subset("odd:neither") == ("odd:neither", None)

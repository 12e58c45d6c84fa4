"""Sounds by id: which file belongs to which prompt, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralith.errors import InvalidRequest
from auralith.evaluation.prompts import Prompt
from auralith.evaluation.sounds import folder_sounds, matched

PROMPTS = [Prompt("1", "rain", ("video",)), Prompt("2", "wind", ("video",)), Prompt("3", "sea")]


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.zeros(10), 8_000, format="WAV")
    return folder


def test_files_are_known_by_their_path(tmp_path: Path) -> None:
    found = folder_sounds(files(tmp_path, "a/1.wav", "b/1.wav", "notes.txt"))
    assert list(found.paths) == ["a/1", "b/1"]


def test_a_prompt_has_the_file_of_its_id_or_of_its_reference(tmp_path: Path) -> None:
    found = matched(folder_sounds(files(tmp_path, "video.wav", "3.2min.wav")), PROMPTS)
    assert {id: path.name for id, path in found.paths.items()} == {
        "1": "video.wav",
        "2": "video.wav",
        "3": "3.2min.wav",
    }


def test_its_own_id_comes_first(tmp_path: Path) -> None:
    sounds = folder_sounds(files(tmp_path, "video.wav", "1.wav", "2.wav", "3.wav"))
    found = matched(sounds, PROMPTS, allow_extra=True)
    assert {path.name for path in found.paths.values()} == {"1.wav", "2.wav", "3.wav"}


def test_a_missing_file_is_refused_or_counted(tmp_path: Path) -> None:
    sounds = folder_sounds(files(tmp_path, "1.wav", "2.wav"))
    with pytest.raises(InvalidRequest, match=r"no file for 1 of 3 ids \('3'\).*--allow-missing"):
        matched(sounds, PROMPTS)
    assert list(matched(sounds, PROMPTS, allow_missing=True).missing) == ["3"]


def test_a_stray_file_is_refused_or_left_out(tmp_path: Path) -> None:
    sounds = folder_sounds(files(tmp_path, "1.wav", "2.wav", "3.wav", "stray.wav"))
    with pytest.raises(
        InvalidRequest, match=r"1 files of other ids \('stray.wav'\).*--allow-extra"
    ):
        matched(sounds, PROMPTS)
    assert len(matched(sounds, PROMPTS, allow_extra=True).paths) == 3


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="have the id '1'"):
        folder_sounds(files(tmp_path, "1.wav", "1.flac"))


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_sounds(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match=r"the folder of the sounds"):
        folder_sounds(tmp_path / name)

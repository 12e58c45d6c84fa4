"""The manifest itself, and weights found in folders."""

import hashlib
import re
from pathlib import Path

import pytest

from auralith.cli.main import run
from auralith.errors import CheckpointError, InvalidRequest
from auralith.weights import find_weights, weights_entry, weights_folder, weights_manifest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AURALITH_WEIGHTS", raising=False)


@pytest.mark.parametrize("name", weights_manifest())
def test_entries(name: str) -> None:
    entry = weights_entry(name)
    assert (entry.base_url is None) != (entry.wheel is None)
    assert entry.page.startswith("https://") and entry.license and entry.purpose
    for file in entry.files:
        assert file.size > 0 and file.anyof
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        for place in file.anyof:
            assert not Path(place).is_absolute() and ".." not in Path(place).parts
            assert Path(place).parent == entry.place or Path(place) == entry.place
        if entry.base_url:
            assert entry.url(file.anyof[0]).startswith("https://")


def test_urls_are_quoted_and_follow_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    panns = weights_entry("panns")
    assert panns.url(panns.files[0].anyof[0]).endswith("Cnn14_DecisionLevelMax_mAP%3D0.385.pth")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert (
        weights_entry("clap-fused").url("clap-htsat-fused/config.json")
        == "https://mirror.example/laion/clap-htsat-fused/resolve/main/config.json"
    )


def test_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_folder().is_relative_to(tmp_path / "cache")
    monkeypatch.setenv("AURALITH_WEIGHTS", str(tmp_path / "named"))
    assert weights_folder() == tmp_path / "named"
    assert weights_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("name", weights_manifest())
def test_missing_weights_say_all_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = weights_entry(name)
    assert run(["weights", "path", name, "--weights", str(tmp_path)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    for part in (entry.files[0].anyof[0], entry.page, entry.license, f"fetch {name}", "--weights"):
        assert part in text
    assert (entry.files[0].sha256 or "kept from the first use") in text


def test_unknown_name() -> None:
    with pytest.raises(InvalidRequest, match="no weights are called 'passd'; use openl3-env, "):
        find_weights("passd")


def test_given_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "own.pt"
    file.write_bytes(b"own")
    found = find_weights("passt", file)
    assert found.path == file and found.sha256 == hashlib.sha256(b"own").hexdigest()


def test_a_folder_of_one_model_and_a_folder_of_weights(tmp_path: Path) -> None:
    model = tmp_path / "clap-htsat-fused"
    model.mkdir()
    for file in weights_entry("clap-fused").files:
        (tmp_path / file.anyof[-1]).write_bytes(file.anyof[-1].encode())
    found = find_weights("clap-fused", tmp_path)
    assert found == find_weights("clap-fused", model)
    assert found.path == model
    (model / "config.json").write_text("{}")
    assert find_weights("clap-fused", model).sha256 != found.sha256
    with pytest.raises(
        CheckpointError, match="was used first"
    ):  # in a folder of weights it is pinned
        find_weights("clap-fused", tmp_path)


def test_wrong_hash_in_a_folder_of_weights(tmp_path: Path) -> None:
    entry = weights_entry("passt")
    (tmp_path / entry.files[0].anyof[0]).write_bytes(b"truncated")
    with pytest.raises(CheckpointError, match=r"\(9 bytes\) has the SHA-256 .*remove it and fetch"):
        find_weights("passt", tmp_path)
    assert not (tmp_path / "cache").exists()


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = weights_entry("panns")
    (tmp_path / entry.files[0].anyof[0]).write_bytes(b"")
    assert run(["weights", "list", "--weights", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    here = {line.split()[0]: line.split()[1] for line in lines[1:-1]}
    assert here.pop("panns") == "yes" and set(here.values()) == {"-"}
    assert set(here) == set(weights_manifest()) - {"panns"}

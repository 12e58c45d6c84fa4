"""Names on the Hub: which files are asked for, and one clear line for every way it can fail."""

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from huggingface_hub.utils import hf_raise_for_status

from auralith.checkpoints import (
    Checkpoint,
    Files,
    convert,
    inspect_checkpoint,
    open_checkpoint,
)
from auralith.checkpoints.hub import TEXT_ENCODER_PATTERNS
from auralith.errors import CheckpointError
from tests.conftest import GOLDEN

NAME = "stabilityai/stable-audio-open-1.0"
CPU = torch.device("cpu")
HTTP = __import__(errors.HfHubHTTPError.__bases__[0].__module__.split(".")[0])  # httpx, whichever


def answer(status: int, **headers: str) -> Exception:
    """The error that huggingface_hub itself makes of an HTTP answer."""
    request = HTTP.Request("GET", f"https://huggingface.co/{NAME}/resolve/main/model_config.json")
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    with pytest.raises(errors.HfHubHTTPError) as caught:
        hf_raise_for_status(HTTP.Response(status, headers=headers, request=request))
    return caught.value


class FakeHub:
    """A repository that is a local folder. Records the names asked for."""

    def __init__(self, folder: Path | None, error: Exception | None = None) -> None:
        self.folder, self.error = folder, error
        self.asked: list[str] = []

    def hf_hub_download(self, repository: str, name: str) -> str:
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        assert self.folder is not None
        if not (self.folder / name).is_file():
            raise answer(404, X_Error_Code="EntryNotFound")
        return str(self.folder / name)

    def snapshot_download(self, repository: str, *, allow_patterns: list[str]) -> str:
        self.asked.extend(allow_patterns)
        if self.error is not None:
            raise self.error
        return str(self.folder)

    def list_repo_files(self, repository: str) -> list[str]:
        self.asked.append("the list")
        if self.error is not None:
            raise self.error
        assert self.folder is not None
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return [path.relative_to(self.folder).as_posix() for path in files]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeHub]:
    def install(folder: Path | None = None, error: Exception | None = None) -> FakeHub:
        fake = FakeHub(folder, error)
        for name in ("hf_hub_download", "snapshot_download", "list_repo_files"):
            monkeypatch.setattr(huggingface_hub, name, getattr(fake, name))
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
        return fake

    return install


def opened(name: str = NAME, text_encoder: str | Path | None = None) -> Checkpoint:
    return open_checkpoint(name, device=CPU, dtype=torch.float32, text_encoder=text_encoder)


def refusal(name: str = NAME) -> str:
    with pytest.raises(CheckpointError) as caught:
        opened(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_single_file_repository(hub: Callable[..., FakeHub]) -> None:
    fake = hub(GOLDEN / "sao_tiny")
    assert opened().source == NAME
    assert fake.asked == [
        "model_config.json",
        "model.safetensors",
        *TEXT_ENCODER_PATTERNS,
    ]
    assert set(TEXT_ENCODER_PATTERNS) >= {"t5/*", "t5gemma-b-b-ul2/*", "text_encoder/*"}


def test_ckpt_only_if_there_is_no_safetensors(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(GOLDEN / "sao_tiny", tmp_path / "x"))
    torch.save({"state_dict": load_file(folder / "model.safetensors")}, folder / "model.ckpt")
    fake = hub(folder)
    opened()
    assert "model.ckpt" not in fake.asked
    (folder / "model.safetensors").unlink()
    opened()
    assert "model.ckpt" in fake.asked


def test_diffusers_repository(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    convert(GOLDEN / "sao_tiny", tmp_path / "x", "diffusers")
    fake = hub(tmp_path / "x")
    opened()
    assert {"transformer/*", "vae/*", "projection_model/*", "text_encoder/*"} <= set(fake.asked)
    assert not any(name.startswith("model.") for name in fake.asked)


def test_diffusers_files_in_the_cache_are_not_fetched_again(
    hub: Callable[..., FakeHub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(GOLDEN / "sao_tiny", tmp_path / "x", "diffusers")
    fake = hub(tmp_path / "x")

    def cached(_: str, name: str) -> str | None:
        return name if name.startswith("transformer/") else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    opened()
    assert "model_config.json" not in fake.asked


def test_text_encoder_of_the_config_is_fetched_last(
    hub: Callable[..., FakeHub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(GOLDEN / "sao_tiny", tmp_path / "x"))
    shutil.move(folder / "t5", tmp_path / "t5-base")
    fake = hub(folder)

    def by_name(repository: str, *, allow_patterns: list[str]) -> str:
        path = fake.snapshot_download(repository, allow_patterns=allow_patterns)
        return str(tmp_path / "t5-base") if repository == "t5-base" else path

    monkeypatch.setattr(huggingface_hub, "snapshot_download", by_name)
    opened()
    assert "tokenizer.json" in fake.asked
    fake.asked.clear()
    opened(text_encoder=tmp_path / "t5-base")
    assert fake.asked == ["model_config.json", "model.safetensors"]


def test_gated_without_a_token(hub: Callable[..., FakeHub]) -> None:
    error = answer(401, X_Error_Code="GatedRepo")
    assert isinstance(error, errors.GatedRepoError)
    hub(error=error)
    message = refusal()
    assert "not logged in (401)" in message
    for step in (
        f"accept its terms at https://huggingface.co/{NAME}",
        "hf auth login",
        "local folder",
    ):
        assert step in message


def test_gated_without_accepted_terms(hub: Callable[..., FakeHub]) -> None:
    hub(error=answer(403, X_Error_Code="GatedRepo"))
    assert "not been granted access (403)" in refusal()


def test_no_such_repository(hub: Callable[..., FakeHub]) -> None:
    error = answer(401, X_Error_Code="RepoNotFound")
    assert isinstance(error, errors.RepositoryNotFoundError)
    hub(error=error)
    message = refusal("owner/typo")
    assert "neither a local file or folder nor a public model" in message and "gated" not in message


@pytest.mark.parametrize("kind", [errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled])
def test_offline_says_what_is_missing(hub: Callable[..., FakeHub], kind: type[Exception]) -> None:
    fake = hub(error=kind("offline\nsecond line"))
    message = refusal()
    assert "model_config.json" in message and "local cache" in message
    # not reachable is not the same as not there: no other file name is tried
    assert fake.asked == ["model_config.json"]


def test_real_offline_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert "not in the local cache" in refusal("owner/model")


def test_offline_with_cached_weights_needs_no_listing(
    hub: Callable[..., FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are in the cache, the repository's text encoder is not: the named one is used."""
    fake = hub(GOLDEN / "sao_tiny")

    def offline(repository: str, *, allow_patterns: list[str]) -> str:
        raise errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    opened()
    assert fake.asked == ["model_config.json", "model.safetensors"]


def test_server_errors(hub: Callable[..., FakeHub]) -> None:
    hub(error=answer(503))
    assert "answered 503" in refusal()
    hub(error=HTTP.ConnectTimeout("timed out\nx"))
    assert "timed out" in refusal()
    hub(error=OSError(28, "No space left on device"))
    assert "No space left" in refusal()


def test_repository_without_a_model(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    hub(tmp_path)
    assert "0 weights files, and no model.safetensors with model_config.json" in refusal()
    shutil.copy(GOLDEN / "sao_tiny/model_config.json", tmp_path)
    assert "0 weights files, and no model.safetensors with model_config.json" in refusal()


@pytest.fixture
def community(tmp_path: Path) -> Path:
    """A fine-tune under its own name."""
    folder = Path(shutil.copytree(GOLDEN / "sao_tiny", tmp_path / "x"))
    (folder / "golden.safetensors").unlink()
    (folder / "model.safetensors").rename(folder / "my_finetune_e12.safetensors")
    return folder


def test_weights_under_any_name(hub: Callable[..., FakeHub], community: Path) -> None:
    (community / "README.md").write_text("a fine-tune")
    fake = hub(community)
    assert opened().source == NAME
    assert "my_finetune_e12.safetensors" in fake.asked and "README.md" not in fake.asked
    (community / "model_config.json").rename(community / "sao_config.json")
    opened()
    assert "sao_config.json" in fake.asked


def test_one_of_several_weights_is_fetched(hub: Callable[..., FakeHub], community: Path) -> None:
    (community / "other").mkdir()
    for name in ("epoch=3-step=9000.ckpt", "other/a.safetensors"):
        shutil.copy(community / "my_finetune_e12.safetensors", community / name)
    shutil.copy(community / "model_config.json", community / "other")
    fake = hub(community)
    message = refusal()
    assert "name one with --weights" in message
    assert "epoch=3-step=9000.ckpt, my_finetune_e12.safetensors" in message
    for name in ("my_finetune_e12.safetensors", "other/a.safetensors"):
        fake.asked.clear()
        files = Files(weights=name)
        open_checkpoint(
            NAME, device=CPU, dtype=torch.float32, files=files, text_encoder=community / "t5"
        )
        assert name in fake.asked and "epoch=3-step=9000.ckpt" not in fake.asked
    with pytest.raises(CheckpointError, match=r"has no weights '\.\./x\.safetensors'"):
        inspect_checkpoint(NAME, Files(weights="../x.safetensors"))


def test_offline_the_cache_is_listed(
    hub: Callable[..., FakeHub], community: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(community)

    def offline(repository: str) -> list[str]:
        raise errors.OfflineModeIsEnabled("offline")

    def cached(
        repository: str, *, allow_patterns: list[str], local_files_only: bool = False
    ) -> str:
        return str(community)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", offline)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert inspect_checkpoint(NAME).layout == "single-file"


@pytest.mark.parametrize(
    "name",
    [
        "a/b/c",
        "../x/y",
        "./model",
        "C:\\models",
        "",
        "a b",
        "bare",
        "foo/bar.ckpt",
        "a/b.JSON",
        "here/modle",
    ],
)
def test_paths_are_never_sent_to_the_hub(
    hub: Callable[..., FakeHub], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    fake = hub(error=AssertionError("asked the Hub"))
    assert refusal(name)
    assert fake.asked == []

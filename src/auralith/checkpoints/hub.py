"""Checkpoints by their name on the Hugging Face Hub.

Everything goes through huggingface_hub, so its cache, token and environment variables (HF_HOME, HF_TOKEN,
HF_HUB_OFFLINE, HF_ENDPOINT …) apply and files that are already there are not fetched again: of a repository with both
layouts the single file is used, unless only the diffusers layout is in the cache. Only the files that are needed are
fetched, and only an answer "no such file" leads on to the next possible file name.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auralith.checkpoints.choosing import (
    CONFIG_NAME,
    FOUND,
    INDEX_NAME,
    INDEX_SUFFIX,
    WEIGHTS_NAMES,
    WEIGHTS_SUFFIXES,
    Files,
    choose_weights,
    config_names,
)
from auralith.errors import CheckpointError
from auralith.families.registry import text_patterns
from auralith.tensor_files import component_files
from auralith.text.encoder import TextEncoderKind

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
FILE_SUFFIXES = frozenset(WEIGHTS_SUFFIXES) | frozenset(
    ".safetensor .pth .th .gguf .onnx .msgpack .h5 .npz"
    " .json .jsonl .toml .yaml .yml .txt .csv .zip .tar .gz .wav".split()
)
TEXT_ENCODER_PATTERNS = (*text_patterns(), "text_encoder/*", "tokenizer/*")
MAX_CONFIGS = 20
DIFFUSERS_WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
DIFFUSERS_PATTERNS = (
    INDEX_NAME,
    "transformer/*",
    "vae/*",
    "projection_model/*",
    "scheduler/*",
)


@dataclass(frozen=True)
class HubOptions:
    """Options of a download, in huggingface_hub's own words; its environment variables say the rest."""

    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    force_download: bool = False

    def chosen(self, *names: str) -> dict[str, Any]:
        """The keyword arguments that differ from huggingface_hub's defaults; of all names, or of these."""
        return {n: v for n, v in vars(self).items() if v and (not names or n in names)}


DEFAULTS = HubOptions()


def is_repository(name: str, *, owned: bool = True) -> bool:
    """Return whether a string can only be meant as `owner/name` on the Hub, or with `owned=False` as a bare `name` too.

    A name that looks like a path is not one, and is never sent to the Hub: a suffix of files that hold weights or settings,
    or a folder that is there before the slash.
    """
    owner, slash, _ = name.partition("/")
    return (
        REPOSITORY.fullmatch(name) is not None
        and ".." not in name
        and Path(name).suffix.lower() not in FILE_SUFFIXES
        and (bool(slash) or not owned)
        and not (slash and Path(owner).is_dir())
    )


def fetch_checkpoint(
    repository: str,
    *,
    with_text_encoder: bool,
    options: HubOptions = DEFAULTS,
    only_diffusers: bool = False,
    files: Files = FOUND,
) -> Path:
    """Local folder with the files of a checkpoint, or its weights where they have another name. Raises CheckpointError."""
    patterns = TEXT_ENCODER_PATTERNS if with_text_encoder else ()
    if files.weights is not None:
        return _fetch_named(repository, files, patterns, options)
    if only_diffusers or _only_diffusers_cached(repository, options):
        return _fetch_folder(repository, (*DIFFUSERS_PATTERNS, *patterns), options)
    config = _fetch_file(repository, CONFIG_NAME, options)
    if config is not None:
        weights = (_fetch_file(repository, name, options) for name in WEIGHTS_NAMES)
        if not any(path is not None for path in weights):
            return _fetch_named(repository, files, patterns, options)
        if patterns:
            _fetch_optional_folder(repository, patterns, options)
        return config.parent
    if _fetch_file(repository, INDEX_NAME, options) is None:
        return _fetch_named(repository, files, patterns, options)
    return _fetch_folder(repository, (*DIFFUSERS_PATTERNS, *patterns), options)


def _fetch_named(
    repository: str, files: Files, patterns: tuple[str, ...], options: HubOptions
) -> Path:
    """The weights of a repository that names them in its own way, with what lies beside them and could be their config."""
    names = _listed(repository, options)
    weights = choose_weights(names, files.weights, f"{repository} on the Hub")
    path = _require_file(repository, weights, options)
    folder = weights.rpartition("/")[0]
    beside = [name for name in names if name.rpartition("/")[0] == folder]
    if weights.endswith(INDEX_SUFFIX):
        for shard in component_files(path):
            _require_file(repository, f"{folder}/{shard.name}".lstrip("/"), options)
    usual = [f"{folder}/{name}".lstrip("/") for name in config_names(weights)]
    configs = [name for name in usual if name in beside][:1] or [
        name for name in beside if name.endswith(".json") and not name.endswith(".index.json")
    ]
    for name in configs[:MAX_CONFIGS]:
        _require_file(repository, name, options)
    if patterns:
        _fetch_optional_folder(repository, patterns, options)
    return path


def _require_file(repository: str, name: str, options: HubOptions) -> Path:
    path = _fetch_file(repository, name, options)
    if path is None:
        raise CheckpointError(f"{repository} on the Hub has no {name}; its index is not complete")
    return path


def _listed(repository: str, options: HubOptions) -> list[str]:
    """Names of all files: those of the Hub or, where it can't be reached, of the local cache."""
    from huggingface_hub import errors, list_repo_files, snapshot_download

    with _explained(repository, "the list of its files"):
        if not options.local_files_only:
            try:
                return list(list_repo_files(repository, **options.chosen("revision", "token")))
            except errors.HfHubHTTPError:
                raise
            # the HTTP library's own base class, as below
            except (errors.OfflineModeIsEnabled, errors.HTTPError, OSError):  # pyright: ignore[reportPrivateImportUsage]
                pass
        kept = options.chosen("revision", "cache_dir")
        found = snapshot_download(repository, allow_patterns=[], local_files_only=True, **kept)
        folder = Path(found)
        return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def fetch_component(repository: str, subfolder: str, stem: str, options: HubOptions) -> Path:
    """Local copy of the repository with one component of it: its config and weights. Raises CheckpointError."""
    start = f"{subfolder}/" if subfolder else ""
    return _fetch_folder(repository, (f"{start}config.json", f"{start}{stem}*"), options)


def fetch_text_encoder(
    repository: str, kind: TextEncoderKind, options: HubOptions = DEFAULTS
) -> Path:
    """Return a local folder with a text encoder and its tokenizer, such as `t5-base`. Raises CheckpointError."""
    return _fetch_folder(repository, (*kind.alone, *TEXT_ENCODER_PATTERNS), options)


def _only_diffusers_cached(repository: str, options: HubOptions) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    def cached(name: str) -> bool:
        where = options.chosen("cache_dir", "revision")
        return isinstance(try_to_load_from_cache(repository, name, **where), str)

    try:
        return cached(DIFFUSERS_WEIGHTS) and not any(cached(name) for name in WEIGHTS_NAMES)
    except HFValidationError:
        return False


def _fetch_file(repository: str, name: str, options: HubOptions) -> Path | None:
    """One file, or None if the repository has no file of that name."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with _explained(repository, name):
        try:
            return Path(hf_hub_download(repository, name, **options.chosen()))
        except (
            LocalEntryNotFoundError
        ):  # a kind of EntryNotFoundError, but it means "not reachable"
            raise
        except EntryNotFoundError:
            return None


def _fetch_folder(repository: str, patterns: tuple[str, ...], options: HubOptions) -> Path:
    from huggingface_hub import snapshot_download

    with _explained(repository, ", ".join(patterns)):
        found = snapshot_download(repository, allow_patterns=list(patterns), **options.chosen())
        return Path(found)


def _fetch_optional_folder(repository: str, patterns: tuple[str, ...], options: HubOptions) -> None:
    """Offline, a text encoder that is not in the cache may still be found elsewhere."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _explained(repository, ", ".join(patterns)), suppress(LocalEntryNotFoundError):
        snapshot_download(repository, allow_patterns=list(patterns), **options.chosen())


@contextmanager
def _explained(repository: str, what: str) -> Iterator[None]:
    """Turn the Hub's errors into one line each: what happened and what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:  # before RepositoryNotFoundError, of which it is a kind
        raise CheckpointError(_gated(repository, error.response.status_code)) from None
    except errors.RepositoryNotFoundError:
        raise CheckpointError(
            f"{repository!r} is neither a local file or folder nor a public model on the Hub; check the name, "
            "or log in with `hf auth login` if it is private"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise CheckpointError(
            f"{what} of {repository} is not in the local cache and the Hub can't be reached (offline, or "
            "HF_HUB_OFFLINE is set); connect once, or pass a local folder"
        ) from None
    except errors.HFValidationError:
        raise CheckpointError(
            f"{repository!r} is not a valid name; pass a path or owner/name"
        ) from None
    except errors.HfHubHTTPError as error:
        raise CheckpointError(
            f"the Hub answered {error.response.status_code} for {repository}; try again later"
        ) from None
    # the HTTP library's own base class; which library depends on the version of huggingface_hub
    except (errors.HTTPError, OSError) as error:  # pyright: ignore[reportPrivateImportUsage]
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{what} of {repository} could not be fetched: {reason}") from None


def _gated(repository: str, status: int) -> str:
    if status == 401:
        why = "you are not logged in (401)"
    else:
        why = "your account has not been granted access (403)"
    return (
        f"{repository} is gated and {why}: 1. accept its terms at https://huggingface.co/{repository}; "
        "2. run `hf auth login` or set HF_TOKEN; 3. or download it elsewhere and pass the local folder"
    )

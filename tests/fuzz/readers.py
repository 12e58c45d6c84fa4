"""The readers of foreign files: how a good file of each is made, and how it is read to its end."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from auralith.checkpoints.adapters import read_adapter
from auralith.checkpoints.transform import published_weights
from auralith.config import AudioFormat
from auralith.curation.settings import CurationSettings
from auralith.curation.store import EVIDENCE, Store
from auralith.data.latent_header import CacheHeader
from auralith.data.latents import EncodedItem, LatentCache, LatentRecord, write_shard
from auralith.families.model_config import spec_from_json
from auralith.families.sections import Section
from auralith.families.stable_audio_1.diffusers import read_scheduler, read_transformer, read_vae
from auralith.files import exclusive
from auralith.models.lazy_tensor import weights_of
from auralith.provenance import Provenance, read_provenance
from auralith.request import GenerationRequest
from auralith.sets.manifest import Entry, Manifest
from auralith.settings import load_settings
from auralith.sound import reading, writing
from auralith.tables import read_rows
from auralith.tensor_files import read_json, read_tensor_file, write_safetensors
from auralith.text.t5 import TextEncoderFolders, open_text_encoder
from auralith.training.journal import Journal
from auralith.training.state import States, claim_folder, save_state

GOLDEN = Path(__file__).parents[1] / "golden"
ORIGIN = Provenance("auralith 1", "m", "h", "cpu", "float32", 0, 1, GenerationRequest("rain"))
CPU = torch.device("cpu")
ROWS = [{"path": "a.wav", "prompt": "rain", "bpm": 90}, {"path": "b.wav", "prompt": ["x", "y"]}]
CACHE = CacheHeader(
    "a1", "b2", 5, AudioFormat(800, 2, 3, 8), (0.0,) * 3, (0.0,) * 3, "c3", 1, (), 1
)


@dataclass(frozen=True)
class Reader:
    """`make` writes a good `file` into a folder, with what it needs beside it; `read` reads it as a command would."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]


def _copy(source: Path) -> Callable[[Path], object]:
    return lambda path: shutil.copy(source, path)


def _load(path: Path) -> None:
    for tensor in read_tensor_file(path).weights.values():
        tensor.load(CPU, torch.float32)


def _tone(path: Path) -> None:
    wave = 0.3 * torch.sin(torch.arange(2_000) / 10).repeat(2, 1)
    writing.write(path, wave, 44_100, tags=ORIGIN.to_tags())


def _text_encoder(path: Path) -> None:
    shutil.copytree(GOLDEN / "sao_tiny/t5", path.parent, dirs_exist_ok=True)


def _open_text_encoder(path: Path) -> None:
    folders = TextEncoderFolders(path.parent, path.parent)
    _, tokenizer = open_text_encoder(folders, None, CPU, torch.float32)
    tokenizer(["rain"], truncation=True, max_length=8, padding="max_length")


def _config(path: Path) -> None:
    published_weights(spec_from_json(read_json(path), path))


def _cache(path: Path) -> None:
    frames = torch.zeros(3, 4).half()
    record = LatentRecord("one", "one.wav", 0.02, 2, ("rain",), {"k": "v"})
    CACHE.write(path.parent)
    write_shard(path.parent, 0, CACHE, [EncodedItem(record, frames, frames)], {"rain": frames})


def _read_cache(path: Path) -> None:
    cache = LatentCache.open(path.parent, "a1", "b2")
    for index in range(len(cache)):
        cache.record(index)
        cache.latents(index, 0, 4)


def _parquet(path: Path) -> None:
    pq.write_table(
        pa.Table.from_pylist([{"path": "a.wav", "prompt": "rain", "tags": ["x"]}] * 20), path
    )


def _evidence(path: Path) -> None:
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([{"rec_id": "a", "stage": "probe"}], EVIDENCE), path)


def _states(path: Path) -> None:
    save_state(path, {"step": 1, "weights": {"a": torch.ones(4)}, "rng": torch.arange(3)})


def _write(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def _lock(path: Path) -> None:
    with exclusive(path.parent):
        pass


def _tensors(path: Path) -> None:
    write_safetensors(path, weights_of({"a": torch.ones(2, 3), "b": torch.ones(4).half()}))


def _manifest(path: Path) -> None:
    Manifest(path.parent).append(Entry(1, "a.wav", "", 1.0, 44_100, "k", (), ORIGIN))


RECIPE = '[[sources]]\nkind = "fma"\npath = "a"\n[probe]\nmax_hours = 1.5\n'
VAE = {"channel_multiples": [1, 2], "downsampling_ratios": [2, 4], "sampling_rate": 44_100}
READERS = (
    Reader("model.safetensors", _tensors, _load),
    Reader(
        "model.ckpt", lambda path: torch.save({"state_dict": {"a": torch.ones(4)}}, path), _load
    ),
    Reader("model_config.json", _copy(GOLDEN / "sao_tiny/model_config.json"), _config),
    Reader(
        "vae.json",
        _write(json.dumps(VAE)),
        lambda path: read_vae(Section(read_json(path), path.name)),
    ),
    Reader(
        "transformer.json",
        _write('{"num_layers": 2}'),
        lambda path: read_transformer(Section(read_json(path), path.name)),
    ),
    Reader(
        "scheduler.json",
        _write('{"sigma_max": 500.0}'),
        lambda path: read_scheduler(Section(read_json(path), path.name)),
    ),
    Reader("config.json", _text_encoder, _open_text_encoder),
    Reader("tokenizer.json", _text_encoder, _open_text_encoder),
    Reader("tokenizer_config.json", _text_encoder, _open_text_encoder),
    Reader("adapter.safetensors", _copy(GOLDEN / "adapters/sa3_lora.safetensors"), read_adapter),
    Reader("adapter.ckpt", _copy(GOLDEN / "adapters/loraw_lora.ckpt"), read_adapter),
    *(Reader(f"tone.{kind}", _tone, reading.read) for kind in ("wav", "flac", "ogg", "mp3")),
    *(Reader(f"tags.{kind}", _tone, read_provenance) for kind in ("wav", "flac", "ogg", "mp3")),
    Reader(
        "table.csv",
        _write('path,prompt,bpm\na.wav,rain,90\nb.wav,"x, y",\n'),
        lambda path: list(read_rows(path)),
    ),
    Reader(
        "table.jsonl", _write("\n".join(map(json.dumps, ROWS))), lambda path: list(read_rows(path))
    ),
    Reader("table.json", _write(json.dumps(ROWS)), lambda path: list(read_rows(path))),
    Reader("table.parquet", _parquet, lambda path: list(read_rows(path))),
    Reader("recipe.toml", _write(RECIPE), lambda path: load_settings(CurationSettings, path)),
    Reader(
        "run.json",
        lambda path: claim_folder(path.parent, {"steps": 5}),
        lambda path: claim_folder(path.parent, {"steps": 5}),
    ),
    Reader(
        "best.json", _write('{"step": 5, "loss": 0.5}'), lambda path: States(path.parent, 2).best
    ),
    Reader("state-00000001.pt", _states, lambda path: States(path.parent, 2).read_latest()),
    Reader(
        "log.jsonl",
        _write('{"step": 1, "loss/v": 0.5}\n' * 3),
        lambda path: Journal(path.parent).metrics(),
    ),
    Reader(".lock", _lock, _lock),
    Reader("cache.json", _cache, _read_cache),
    Reader("shard-00000.safetensors", _cache, _read_cache),
    Reader("evidence/0.parquet", _evidence, lambda path: Store(path.parents[1]).read("evidence")),
    Reader(
        "manifest.jsonl",
        _manifest,
        lambda path: Manifest(path.parent),
    ),
)

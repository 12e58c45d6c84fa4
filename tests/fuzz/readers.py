"""The readers of foreign files: how a good file of each is made, and how it is read to its end."""

import json
import pickle
import shutil
import tarfile
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
from fuzz.curation_readers import CURATION_READERS
from fuzz.reader import GOLDEN, Reader, copied, seal_beside, seal_inside, written

from auralith.checkpoints.adapters import read_adapter
from auralith.checkpoints.convert import convert
from auralith.checkpoints.opening import locate
from auralith.checkpoints.transform import published_weights
from auralith.config import AudioFormat
from auralith.content_credentials import open_signer
from auralith.data.latent_header import CacheHeader
from auralith.data.latents import EncodedItem, LatentCache, LatentRecord, write_shard
from auralith.data.recordings import open_recordings
from auralith.embedders import open_embedder
from auralith.families.model_config import spec_from_json
from auralith.families.sections import Section
from auralith.families.stable_audio_1.diffusers import read_scheduler, read_transformer, read_vae
from auralith.files import exclusive
from auralith.foreign import read_json
from auralith.memorization.store import EmbeddingStore, embed_recordings
from auralith.metrics.references import read_pickled_probabilities, read_statistics
from auralith.models.lazy_tensor import weights_of
from auralith.provenance import Provenance, read_provenance
from auralith.request import GenerationRequest
from auralith.sets import read_rows as read_prompts
from auralith.sets.manifest import Entry, Manifest
from auralith.settings import load_settings
from auralith.sound import extent, reading, writing
from auralith.sound.tags import read_tags
from auralith.tables import read_rows
from auralith.tensor_files import read_component, read_tensor_file, write_safetensors
from auralith.text.t5 import TextEncoderFolders, open_text_encoder
from auralith.text.t5gemma import T5GEMMA
from auralith.training.export import check_target, exported
from auralith.training.finetune import FinetuneSettings
from auralith.training.scratch import TransformerRecipe
from auralith.training.state import Journal, States, claim_folder
from tests.certificates import make_identity

ORIGIN = Provenance("auralith 1", "m", "h", "cpu", "float32", 0, 1, GenerationRequest("rain"))
CPU = torch.device("cpu")
ROWS = [{"path": "a.wav", "prompt": "rain", "bpm": 90}, {"path": "b.wav", "prompt": ["x", "y"]}]
CACHE = CacheHeader(
    "a1", "b2", 5, AudioFormat(800, 2, 3, 8), (0.0,) * 3, (0.0,) * 3, "c3", 1, (), 1
)


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
    open_text_encoder(folders, None, CPU, torch.float32).encode(["rain"], 8)


def _t5gemma(path: Path) -> None:
    shutil.copytree(GOLDEN / "sa3/t5gemma", path.parent, dirs_exist_ok=True)


def _open_t5gemma(path: Path) -> None:
    folders = TextEncoderFolders(path.parent, path.parent)
    T5GEMMA.open(folders, None, CPU, torch.float32).encode(["rain"], 8)


def _pieces(path: Path) -> None:
    """Write what sentencepiece wrote, in place of a tokenizer."""
    _text_encoder(path)
    path.with_name("tokenizer.json").unlink()
    shutil.copy(GOLDEN / "sentencepiece/spiece.model", path)


def _diffusers(path: Path) -> None:
    folder = next(one for one in path.parents if one.name == "model")
    convert(GOLDEN / "sao_tiny", folder, "diffusers")


def _peft(path: Path) -> None:
    lora = {"lora_A.weight": torch.ones(2, 128), "lora_B.weight": torch.ones(128, 2)}
    name = "base_model.model.transformer_blocks.1.attn2.to_q"
    weights = {f"{name}.{kind}": tensor for kind, tensor in lora.items()}
    write_safetensors(path.with_name("adapter_model.safetensors"), weights_of(weights))
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "alpha_pattern": {"to_q": 5}}
    path.write_text(json.dumps(settings))


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


def _states(path: Path) -> None:
    state = {"step": 1, "weights": {"a": torch.ones(4)}, "rng": torch.arange(3)}
    States(path.parent, 2).write(1, state, 0.5)


def _read_states(path: Path) -> None:
    States(path.parent, 2).read_latest()


def _claim(path: Path) -> None:
    claim_folder(path.parent, {"steps": 5})


def _export(path: Path) -> None:
    with exported(path.parent / "model", path.parent, 5) as folder:
        (folder / "card.md").write_text("5 steps")


def _check_export(path: Path) -> None:
    check_target(path.parent / "model", path.parent, 6)


def _sharded(path: Path) -> None:
    for name in "ab":
        write_safetensors(path.with_name(f"{name}.safetensors"), weights_of({name: torch.ones(2)}))
    index = {"weight_map": {name: f"{name}.safetensors" for name in "ab"}}
    path.write_text(json.dumps({"metadata": {"total_size": 16}} | index))


def _read_sharded(path: Path) -> None:
    for tensor in read_component(path).values():
        tensor.load(CPU, torch.float32)


def _encoded(path: Path) -> None:
    """Write a tone in a format that `sound.writing` has not."""
    wave = (0.3 * np.sin(np.arange(4_000) / 10)).astype(np.float32)
    if path.suffix in SOUNDFILE_KINDS:
        kind, subtype = SOUNDFILE_KINDS[path.suffix]
        soundfile.write(path, np.stack([wave, wave], 1), 48_000, format=kind, subtype=subtype)
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream(AV_CODECS[path.suffix], rate=48_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def _read_sound(path: Path) -> None:
    read_tags(str(path))
    extent.read_info(path)
    reading.read(path)


def _dataset(path: Path) -> None:
    """Write a shard of a sound with the files beside it."""
    folder = path.parent / "sounds"
    folder.mkdir()
    _tone(folder / "a.wav")
    (folder / "a.txt").write_text("rain")
    (folder / "a.json").write_text('{"title": "Rain", "bpm": 90}')
    with tarfile.open(path, "w") as tar:
        for member in sorted(folder.iterdir()):
            tar.add(member, member.name)


def _read_dataset(path: Path) -> None:
    recordings = open_recordings(path)
    for i in range(len(recordings)):
        recordings.read(i)


def _identity(path: Path) -> None:
    make_identity(path.parent)


def _open_signer(path: Path) -> None:
    open_signer(path.with_name("chain.pem"), path.with_name("key.pem"))


def _lock(path: Path) -> None:
    with exclusive(path.parent):
        pass


def _tensors(path: Path) -> None:
    write_safetensors(path, weights_of({"a": torch.ones(2, 3), "b": torch.ones(4).half()}))


def _probabilities(path: Path) -> None:
    path.write_bytes(pickle.dumps({i: torch.full((4,), 0.25) for i in range(3)}))


def _statistics(path: Path) -> None:
    np.savez(path, mu_ref=np.ones(3), sigma_ref=np.eye(3))


def _embeddings(path: Path) -> None:
    _tone(path.parent / "tone.wav")
    recordings = open_recordings(path.parent, prompt_column=None)
    list(embed_recordings(recordings, open_embedder("mel"), path.parent))


def _manifest(path: Path) -> None:
    Manifest(path.parent).append(Entry(1, "a.wav", "", 1.0, 44_100, "k", (), ORIGIN))


FINETUNING = 'mode = "lora"\n[dit]\nbatch_size = 4\n[optimizer]\nlearning_rate = 1e-4\n'
SCRATCH = 'kind = "transformer"\n[dataset]\npath = "a"\n[training.loop]\nsteps = 10\n'
SOUNDFILE_KINDS = {
    ".aiff": ("AIFF", "PCM_16"),
    ".au": ("AU", "FLOAT"),
    ".caf": ("CAF", "PCM_24"),
    ".w64": ("W64", "PCM_16"),
    ".rf64": ("RF64", "PCM_16"),
    ".opus": ("OGG", "OPUS"),
    ".wave": ("WAV", "IMA_ADPCM"),
}
AV_CODECS = {".m4a": "aac", ".mka": "ac3", ".webm": "libopus", ".wma": "wmav2", ".avi": "mp2"}
VAE = {"channel_multiples": [1, 2], "downsampling_ratios": [2, 4], "sampling_rate": 44_100}
READERS = (
    Reader("model.safetensors", _tensors, _load),
    Reader(
        "model.ckpt", lambda path: torch.save({"state_dict": {"a": torch.ones(4)}}, path), _load
    ),
    Reader("model_config.json", copied(GOLDEN / "sao_tiny/model_config.json"), _config),
    Reader(
        "vae.json",
        written(json.dumps(VAE)),
        lambda path: read_vae(Section(read_json(path), path.name)),
    ),
    Reader(
        "transformer.json",
        written('{"num_layers": 2}'),
        lambda path: read_transformer(Section(read_json(path), path.name)),
    ),
    Reader(
        "scheduler.json",
        written('{"sigma_max": 500.0}'),
        lambda path: read_scheduler(Section(read_json(path), path.name)),
    ),
    Reader("config.json", _text_encoder, _open_text_encoder),
    Reader("t5gemma/config.json", _t5gemma, _open_t5gemma),
    Reader("tokenizer.json", _text_encoder, _open_text_encoder),
    Reader("tokenizer_config.json", _text_encoder, _open_text_encoder),
    Reader("spiece.model", _pieces, _open_text_encoder),
    Reader("model/model_index.json", _diffusers, lambda path: locate(path.parent)),
    Reader(
        "model/scheduler/scheduler_config.json", _diffusers, lambda path: locate(path.parents[1])
    ),
    Reader("adapter_config.json", _peft, lambda path: read_adapter(path.parent)),
    Reader("adapter.safetensors", copied(GOLDEN / "adapters/sa3_lora.safetensors"), read_adapter),
    Reader("adapter.ckpt", copied(GOLDEN / "adapters/loraw_lora.ckpt"), read_adapter),
    *(Reader(f"tone.{kind}", _tone, reading.read) for kind in ("wav", "flac", "ogg", "mp3")),
    *(Reader(f"tags.{kind}", _tone, read_provenance) for kind in ("wav", "flac", "ogg", "mp3")),
    *(Reader(f"sound{kind}", _encoded, _read_sound) for kind in (*SOUNDFILE_KINDS, *AV_CODECS)),
    Reader("sounds.tar", _dataset, _read_dataset),
    Reader("chain.pem", _identity, _open_signer),
    Reader("key.pem", _identity, _open_signer),
    Reader("model.safetensors.index.json", _sharded, _read_sharded),
    Reader("prompts.csv", written("prompt,seconds,seed\nrain,1.5,7\nwind,,\n"), read_prompts),
    Reader("prompts.txt", written("rain\nwind\n"), read_prompts),
    Reader(
        "table.csv",
        written('path,prompt,bpm\na.wav,rain,90\nb.wav,"x, y",\n'),
        lambda path: list(read_rows(path)),
    ),
    Reader(
        "table.jsonl", written("\n".join(map(json.dumps, ROWS))), lambda path: list(read_rows(path))
    ),
    Reader("table.json", written(json.dumps(ROWS)), lambda path: list(read_rows(path))),
    Reader("table.parquet", _parquet, lambda path: list(read_rows(path))),
    Reader("recipe.toml", written(FINETUNING), lambda path: load_settings(FinetuneSettings, path)),
    Reader("scratch.toml", written(SCRATCH), lambda path: load_settings(TransformerRecipe, path)),
    Reader("run.json", _claim, _claim, seal_inside),
    Reader("best.json", _states, lambda path: States(path.parent, 2).best, seal_inside),
    Reader("exported.json", _export, _check_export, seal_inside),
    Reader("state-00000001.pt", _states, _read_states, seal_beside),
    Reader(
        "log.jsonl",
        written('{"step": 1, "loss/v": 0.5}\n' * 3),
        lambda path: Journal(path.parent).metrics(),
    ),
    Reader(".lock", _lock, _lock),
    Reader("cache.json", _cache, _read_cache, seal_inside),
    Reader("shard-00000.safetensors", _cache, _read_cache, seal_beside),
    Reader("probabilities.pkl", _probabilities, read_pickled_probabilities),
    Reader("statistics.npz", _statistics, read_statistics),
    Reader("index.json", _embeddings, lambda path: EmbeddingStore.open(path.parent), seal_inside),
    Reader("manifest.jsonl", _manifest, lambda path: Manifest(path.parent)),
    *CURATION_READERS,
)

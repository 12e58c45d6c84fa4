"""The manifest of an export: what its graphs are and take, and the hash of every file beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from auralith import __version__
from auralith.checkpoints.choosing import EXPORT_MANIFEST as MANIFEST
from auralith.config import ModelConfig
from auralith.errors import CheckpointError, shown
from auralith.exports.ports import NAMES, STEP, Port
from auralith.families.model_config import config_from_json, config_to_json
from auralith.files import file_hash, size_text
from auralith.foreign import SHAPE_ERRORS, Json, read_json
from auralith.tensor_files import sha256_of, write_json

VERSION = 1
"""The version of this form; another one is refused."""
FORMAT = "auralith export"
Target = Literal["onnx", "openvino"]
Numbers = Literal["float32", "int8"]
SUFFIXES: Mapping[str, str] = {"onnx": ".onnx", "openvino": ".xml"}
REST, TOKENIZER = "rest.safetensors", "tokenizer"
AGAIN = "export the model again with auralith export"


@dataclass(frozen=True)
class StoredGraph:
    """A graph as the manifest describes it."""

    file: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    difference: float
    """Largest difference from torch relative to the largest value, when it was written, on one random input; in int8
    the largest error (L2) of a step of a run."""
    numbers: Numbers = "float32"
    """Numbers of the large products; all others are of float32."""


@dataclass(frozen=True)
class Manifest:
    """Everything that is said of an export."""

    target: Target
    source: str
    source_hash: str
    """`model_hash` of the model that was exported."""
    config: ModelConfig
    states_width: int
    vocabulary: int
    """Tokens that the text encoder has."""
    has_special_tokens: bool
    graphs: Mapping[str, StoredGraph]
    files: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Bytes and SHA-256 of the other files by their path in the folder."""

    @property
    def is_int8(self) -> bool:
        """Return whether the steps are in int8."""
        return self.graphs[STEP].numbers == "int8"

    @property
    def num_bytes(self) -> int:
        """Return the bytes of the graphs and their weights."""
        return sum(int(facts["bytes"]) for facts in self.files.values())

    @property
    def most_frames(self) -> int:
        """The most latent frames that `step` takes."""
        return self.config.window_frames


def is_export(folder: Path) -> bool:
    """Return whether a folder holds an export."""
    return (folder / MANIFEST).is_file()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of what else lies in a folder."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_hash(path),
        }
        for path in paths
    }
    write_json(folder / MANIFEST, _to_json(replace(manifest, files=files)))


def read_manifest(folder: Path, *, verify: bool = True) -> Manifest:
    """Return the manifest of an export whose files are all as it says; without `verify` they are not looked at.

    Raises:
        CheckpointError: it is damaged or of another version; a file is missing, cut off or not the one that was written.
    """
    path = folder / MANIFEST
    data = read_json(path)
    if data.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no manifest of an export; {AGAIN}")
    if data.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is of version {shown(data.get('version'))}, this program reads {VERSION}; {AGAIN}"
        )
    try:
        manifest = _from_json(data)
    except SHAPE_ERRORS as error:
        raise CheckpointError(f"{path} is damaged ({error!s:.100}); {AGAIN}") from None
    if verify:
        _check_files(folder, manifest)
    return manifest


def manifest_hash(folder: Path) -> str:
    """Return the hash of an export: of its manifest, which has those of all files."""
    return sha256_of([folder / MANIFEST])


def _check_files(folder: Path, manifest: Manifest) -> None:
    needed = {graph.file for graph in manifest.graphs.values()} | {REST}
    for name in sorted(needed - manifest.files.keys()):
        raise CheckpointError(f"{folder / MANIFEST} does not list {name!r:.120}; {AGAIN}")
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; copy the whole folder, or {AGAIN}")
        size = path.stat().st_size
        if size != facts["bytes"]:
            raise CheckpointError(
                f"{path} has {size_text(size)} in place of {size_text(facts['bytes'])}; copy it again, or {AGAIN}"
            )
        if file_hash(path) != facts["sha256"]:
            raise CheckpointError(
                f"{path} is damaged or belongs to another export; copy the whole folder again, or {AGAIN}"
            )


def _to_json(manifest: Manifest) -> Json:
    graphs = {
        name: {
            "file": graph.file,
            "inputs": [_port_to_json(port) for port in graph.inputs],
            "outputs": [_port_to_json(port) for port in graph.outputs],
            "difference_from_torch": graph.difference,
            "numbers": graph.numbers,
        }
        for name, graph in manifest.graphs.items()
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "generator": f"auralith {__version__}",
        "target": manifest.target,
        "source": {"name": manifest.source, "hash": manifest.source_hash},
        "most_frames": manifest.most_frames,
        "text": {
            "states_width": manifest.states_width,
            "vocabulary": manifest.vocabulary,
            "special_tokens": manifest.has_special_tokens,
        },
        "graphs": graphs,
        "model": config_to_json(manifest.config),
        "files": dict(manifest.files),
    }


def _from_json(data: Json) -> Manifest:
    graphs = {
        name: StoredGraph(
            _inner(graph["file"]),
            tuple(map(_port_from_json, graph["inputs"])),
            tuple(map(_port_from_json, graph["outputs"])),
            float(graph["difference_from_torch"]),
            _numbers(graph["numbers"]),
        )
        for name, graph in data["graphs"].items()
    }
    if missing := set(NAMES) - graphs.keys():
        raise ValueError(f"the graph {min(missing)} is missing")
    target, text = data["target"], data["text"]
    if target not in SUFFIXES:
        raise ValueError(f"target is {shown(target)}")
    files = {
        _inner(name): {"bytes": int(facts["bytes"]), "sha256": str(facts["sha256"])}
        for name, facts in data["files"].items()
    }
    return Manifest(
        target=target,
        source=str(data["source"]["name"]),
        source_hash=str(data["source"]["hash"]),
        config=config_from_json(data["model"]),
        states_width=int(text["states_width"]),
        vocabulary=int(text["vocabulary"]),
        has_special_tokens=bool(text["special_tokens"]),
        graphs=graphs,
        files=files,
    )


def _numbers(name: object) -> Numbers:
    found: dict[object, Numbers] = {"float32": "float32", "int8": "int8"}
    if name not in found:
        raise ValueError(f"numbers are {shown(name)}")
    return found[name]


def _inner(name: object) -> str:
    """Return a path that stays within the folder. Raises ValueError for any other."""
    path = Path(str(name))
    if path.is_absolute() or ".." in path.parts or not str(name).isprintable():
        raise ValueError(f"{shown(name)} is no file of the folder")
    return str(name)


def _port_to_json(port: Port) -> Json:
    kind = "int64" if port.is_integer else "float32"
    return {"name": port.name, "shape": list(port.axes), "type": kind}


def _port_from_json(data: Json) -> Port:
    axes = tuple(axis if isinstance(axis, int) else str(axis) for axis in data["shape"])
    return Port(str(data["name"]), axes, data["type"] == "int64")

"""Exported graphs compute what torch does, in ONNX Runtime and OpenVINO, of any batch and length; the pipeline runs on them."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import open_checkpoint
from auralith.cli.main import run
from auralith.editing import Clip, Inpainting, Loop, Variation, inpaint, make_loop, vary
from auralith.errors import AuralithError, CheckpointError, InvalidRequest, MissingExtra
from auralith.exporting import calibration, export, writing
from auralith.exporting.graphs import graphs_of
from auralith.exports import MANIFEST, read_manifest
from auralith.exports.openvino import compiled, read_graph
from auralith.exports.ports import CONDITIONER, DECODER, PREPARE, STEP, TEXT_ENCODER
from auralith.families.model_config import config_to_json
from auralith.files import file_hash
from auralith.models.quantized import INT8_LAYERS
from auralith.models.spectral import Spectral, SpectralPrediction
from auralith.pipeline import EMBEDDED, Auralith, load
from auralith.request import GenerationRequest
from tests.conftest import GOLDEN, open_tiny, relative_error
from tests.rounding import DECODED, RUN

TINY = GOLDEN / "sao_tiny"
DOCS = Path(__file__).parents[2] / "docs" / "export.md"
PARITY = 1e-4
SIZES = (
    {"batch": 2, "context_row": 1, "token": 5, "frame": 30, "position": 1},
    {"batch": 1, "context_row": 1, "token": 9, "frame": 7, "position": 7},
    {"batch": 4, "context_row": 4, "token": 3, "frame": 16, "position": 16},
)
"""With guidance, where half of the rows has a context; of one row; and with negative prompts."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def as_onnx(root: Path) -> Path:
    export(TINY, root / "onnx", "onnx")
    return root / "onnx"


@pytest.fixture(scope="module")
def embedded(root: Path) -> Path:
    export(EMBEDDED, root / "embedded", "openvino")
    return root / "embedded"


@pytest.fixture(scope="module")
def tiny() -> Auralith:
    return load(TINY, device="cpu", dtype="float32")


def parts(found: SpectralPrediction) -> tuple[Tensor, ...]:
    return (*vars(found.spectrum).values(), found.scale)


def outputs(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else found


@pytest.mark.parametrize("sizes", SIZES, ids=("guided", "one", "all"))
def test_every_graph_computes_what_torch_does(as_onnx: Path, sizes: dict[str, int]) -> None:
    manifest = read_manifest(as_onnx)
    for graph in graphs_of(open_tiny("sao_tiny")):
        stored = manifest.graphs[graph.name]
        session = onnxruntime.InferenceSession(as_onnx / stored.file)
        inputs = graph.example(sizes, seed=7)
        named = {port.name: t.numpy() for port, t in zip(stored.inputs, inputs, strict=True)}
        with torch.no_grad():
            expected = outputs(graph.module(*inputs))
        found = session.run([port.name for port in stored.outputs], named)
        for by_onnx, by_openvino, value in zip(
            found, compiled(as_onnx / stored.file)(*inputs), expected, strict=True
        ):
            assert relative_error(torch.from_numpy(np.asarray(by_onnx)), value) < PARITY
            assert relative_error(by_openvino, value) < PARITY


def test_the_manifest_says_what_the_files_are(as_onnx: Path) -> None:
    data = json.loads((as_onnx / MANIFEST).read_text())
    assert data["version"] == 1
    assert data["model"] == config_to_json(open_tiny("sao_tiny").config)
    assert set(data["graphs"]) == {TEXT_ENCODER, CONDITIONER, PREPARE, STEP, DECODER}
    latents = {"name": "latents", "shape": ["batch", 16, "frame"], "type": "float32"}
    assert data["graphs"][DECODER]["inputs"] == [latents]
    assert {path.name for path in as_onnx.iterdir() if path.is_file()} - {MANIFEST} == {
        name for name in data["files"] if "/" not in name
    }
    for graph in data["graphs"].values():
        session = onnxruntime.InferenceSession(as_onnx / graph["file"])
        for said, there in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            assert [port["name"] for port in graph[said]] == [port.name for port in there]
            assert [port["shape"] for port in graph[said]] == [port.shape for port in there]
        assert graph["difference_from_torch"] < PARITY


def test_the_example_of_the_docs_takes_a_guided_step(as_onnx: Path, tiny: Auralith) -> None:
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    program = found[1]
    for published, own in (("OUT", str(as_onnx)), ("128", "32"), ("(1, 64, 216)", "(1, 16, 24)")):
        assert published in program
        program = program.replace(published, own)
    made: dict[str, Any] = {}
    exec(program, made)
    numbers = {"seconds_start": [0.0], "seconds_total": [10.0]}
    conditions = tiny.conditioner.both(["rain"], None, numbers, guided=True)
    prepared = tiny.dit.prepare(conditions.context, conditions.global_embed, 24)
    with torch.no_grad():
        latents = torch.from_numpy(made["z"]).repeat(2, 1, 1)
        conditioned, other = tiny.dit.step(latents, torch.ones(2), prepared)
    assert (
        relative_error(torch.from_numpy(made["velocity"]), other + 7 * (conditioned - other))
        < PARITY
    )


REQUESTS = {
    "guided": GenerationRequest("rain", seconds_total=0.5, seed=5, steps=4),
    "negative": GenerationRequest("rain", negative_prompt="wind", seed=6, steps=3),
    "unguided": GenerationRequest("rain", cfg_scale=1.0, seed=7, steps=3, sampler="k-heun"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_pipeline_gives_the_same_sound_on_an_export(
    as_onnx: Path, tiny: Auralith, name: str
) -> None:
    exported, request = load(as_onnx), REQUESTS[name]
    found, expected = exported.generate(request), tiny.generate(request)
    assert found.waveform.shape == expected.waveform.shape
    assert relative_error(found.waveform, expected.waveform) < RUN
    assert found.provenance.model_hash != expected.provenance.model_hash
    assert found.provenance.settings == expected.provenance.settings
    assert "openvino_telemetry" not in sys.modules


def test_a_signal_comes_through_after_a_graph_is_freed_elsewhere(as_onnx: Path) -> None:
    """In a process of its own, which would be lost otherwise."""
    program = """
import signal, sys, threading
from pathlib import Path
from auralith.exports.openvino import compiled
graphs = [compiled(Path(sys.argv[1]))]
freeing = threading.Thread(target=graphs.clear)
freeing.start(); freeing.join()
signal.signal(signal.SIGINT, lambda number, frame: print("came"))
signal.raise_signal(signal.SIGINT)
"""
    found = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, str(as_onnx / "decoder.onnx")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "came\n"), found.stderr[-2_000:]


def test_edits_run_on_an_export(as_onnx: Path, tiny: Auralith) -> None:
    request = replace(REQUESTS["guided"], seconds_total=None)
    time = torch.arange(44_100) / 44_100
    clip = Clip(0.3 * torch.sin(440 * 2 * torch.pi * time).expand(2, -1), 44_100)
    for edit, value in ((vary, Variation(0.5)), (inpaint, Inpainting(((0.2, 0.6),)))):
        found, expected = (edit(model, request, clip, value) for model in (load(as_onnx), tiny))  # pyright: ignore[reportArgumentType]
        assert relative_error(found.waveform, expected.waveform) < RUN
    looped = (make_loop(model, request, Loop(seconds=0.5)) for model in (load(as_onnx), tiny))
    found, expected = looped
    assert relative_error(found.waveform, expected.waveform) < RUN


def test_words_of_an_export(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["words", "pian*", "--model", str(embedded)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["pianissimo", "piano"]


@pytest.mark.parametrize("kind", ["sao", pytest.param("sa3", marks=pytest.mark.slow)])
def test_sizes_do_not_grow_from_block_to_block(kind: str, sa3_folders: dict[str, Path]) -> None:
    """Nested minima made torch take ten minutes for eight blocks, and would take days for 24."""
    folder = TINY if kind == "sao" else sa3_folders["small"]
    checkpoint = open_checkpoint(folder, device=torch.device("cpu"), dtype=torch.float32)
    step = next(graph for graph in graphs_of(checkpoint) if graph.name == STEP)
    program = writing._traced(step, step.example(writing.MADE_WITH))
    values = [value for node in program.model.graph for value in node.outputs]
    sizes = {str(size) for value in values for size in value.shape or ()}
    assert len(sizes) > 5
    assert not [size for size in sizes if "Max" in size or size.count("Min") > 1]


@pytest.mark.slow
def test_the_embedded_model_runs_on_openvino_with_tiles_streams_and_edits(embedded: Path) -> None:
    exported, model = load(embedded), load(device="cpu", dtype="float32")
    request = GenerationRequest("a drum loop at 120 bpm", seconds_total=1.0, seed=3, steps=6)
    latents = exported.denoise([exported.resolve(request)])
    expected = model.denoise([model.resolve(request)])
    assert relative_error(latents, expected) < RUN
    both = (exported.autoencoder, model.autoencoder)
    found, true = (one.predict(expected) for one in both if isinstance(one, Spectral))
    for one, other in zip(parts(found), parts(true), strict=True):
        assert relative_error(one, other) < DECODED
    # phases are found step by step from where they can't be told apart: rounding shifts single bins, not their levels
    sound, other = exported.decode(expected), model.decode(expected)
    assert isinstance(sound, Tensor) and isinstance(other, Tensor)
    assert float((sound - other).square().mean() / other.square().mean()) < 1e-2
    assert torch.cat(list(exported.stream(request)), dim=-1).shape[-1] == 44_100


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "medium"])
def test_stable_audio_3_runs_on_an_export(
    sa3_folders: dict[str, Path], root: Path, size: str
) -> None:
    manifest = export(sa3_folders[size], root / size, "openvino")
    assert max(graph.difference for graph in manifest.graphs.values()) < PARITY
    exported, model = load(root / size), load(sa3_folders[size], device="cpu", dtype="float32")
    request = GenerationRequest("rain", seed=2, steps=3)
    latents = exported.denoise([exported.resolve(request)])
    # the highest frequencies of the timestep turn one rounding into a hundredth of a radian
    assert relative_error(latents, model.denoise([model.resolve(request)])) < 1e-3
    assert relative_error(exported.decode(latents), model.decode(latents)) < PARITY  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidRequest, match="an export has no mask for padding"):
        exported.generate(replace(request, noise="reference"))


@pytest.fixture(scope="module")
def in_int8(root: Path) -> Path:
    shown: list[tuple[int, int]] = []
    export(
        TINY,
        root / "int8",
        "openvino",
        quantize="int8",
        calibration=("wind", "rain"),
        show=lambda done, total: shown.append((done, total)),
    )
    assert shown == [(0, 2), (1, 2), (2, 2)]
    return root / "int8"


class TestInInt8:
    def test_the_large_products_of_blocks_take_a_quarter(self, in_int8: Path) -> None:
        stored = read_manifest(in_int8).graphs
        assert {name for name, graph in stored.items() if graph.numbers == "int8"} == {STEP}
        graph = read_graph(in_int8 / stored[STEP].file)
        found = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Constant"]
        weights = [n for n in found if n.get_element_type().get_type_name() == "i8"]
        codes = sum(math.prod(node.shape) for node in weights)
        layers = open_tiny("sao_tiny").dit.named_modules()
        linear = {name: m for name, m in layers if isinstance(m, torch.nn.Linear)}
        expected = [m.weight.numel() for name, m in linear.items() if INT8_LAYERS.fullmatch(name)]
        assert (len(weights), codes) == (len(expected), sum(expected))

    def test_a_sound_is_as_near_as_the_manifest_says(self, in_int8: Path, tiny: Auralith) -> None:
        exported, error = load(in_int8), read_manifest(in_int8).graphs[STEP].difference
        request = replace(REQUESTS["guided"], prompt="a bell", cfg_scale=1.0)
        latents = exported.denoise([exported.resolve(request)])
        expected = tiny.denoise([tiny.resolve(request)])
        assert 0 < relative_error(latents, expected) < 0.1
        assert 0 < error < 0.1
        sound = exported.generate(request)
        assert sound.provenance.dtype == "int8"
        with pytest.raises(InvalidRequest, match="computes in int8"):
            load(in_int8, dtype="float32")

    def test_what_it_can_not_be_made_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "new"
        arguments = ["export", str(TINY), str(out), "--quantize", "int8", "--to"]
        assert run([*arguments, "onnx"]) == 2
        assert "for OpenVINO alone" in capsys.readouterr().err
        prompts = tmp_path / "prompts.txt"
        prompts.write_text("rain\n")
        assert run([*arguments, "openvino", "--calibration", str(prompts)]) == 2
        assert "takes two prompts or more" in capsys.readouterr().err
        with pytest.raises(InvalidRequest, match="'int4' is unknown; use int8"):
            export(TINY, out, "openvino", quantize="int4")  # pyright: ignore[reportArgumentType]
        monkeypatch.setitem(sys.modules, "nncf", None)
        with pytest.raises(MissingExtra, match=re.escape("auralith[export-int8]")):
            export(TINY, out, "openvino", quantize="int8")
        assert not out.exists()

    @pytest.mark.slow
    def test_steps_that_are_too_far_off_are_not_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calibration, "TOLERANCE", 0.0)
        with pytest.raises(CheckpointError, match=r"in int8 a step differs by .* nothing was writ"):
            export(
                TINY, tmp_path / "new", "openvino", quantize="int8", calibration=("wind", "rain")
            )
        assert not list(tmp_path.iterdir())


class TestRefusals:
    """Every bad input is one line, and leaves nothing behind."""

    @pytest.fixture
    def copy(self, as_onnx: Path, tmp_path: Path) -> Path:
        return shutil.copytree(as_onnx, tmp_path / "copy")

    def refused(self, folder: Path, **options: Any) -> str:
        with pytest.raises(AuralithError) as caught:
            load(folder, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_file_that_is_not_what_was_written(self, copy: Path) -> None:
        path = copy / "step.onnx"
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        assert "step.onnx has" in self.refused(copy) and "in place of" in self.refused(copy)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert "damaged or belongs to another export" in self.refused(copy)
        path.unlink()
        assert "step.onnx is missing" in self.refused(copy)

    def test_parts_of_another_model(self, copy: Path) -> None:
        path = copy / "rest.safetensors"
        tensors = load_file(path)
        tensors.popitem()
        save_file(tensors, path)
        assert "rest.safetensors has" in self.refused(copy)
        data = json.loads((copy / MANIFEST).read_text())
        facts = {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        data["files"][path.name] = facts
        (copy / MANIFEST).write_text(json.dumps(data))
        assert "rest.safetensors does not fit its config: 1 missing" in self.refused(copy)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"version": 2}, "is of version 2, this program reads 1"),
            ({"format": "other"}, "is no manifest of an export"),
            ({"target": "tensorrt"}, "is damaged (target is 'tensorrt')"),
            ({"graphs": {}}, "the graph conditioner is missing"),
            ({"files": {}}, "does not list"),
            ({"files": {"../x": {"bytes": 1, "sha256": ""}}}, "is no file of the folder"),
        ],
    )
    def test_a_manifest_of_another_form(
        self, copy: Path, change: dict[str, Any], message: str
    ) -> None:
        data = json.loads((copy / MANIFEST).read_text()) | change
        (copy / MANIFEST).write_text(json.dumps(data))
        assert message in self.refused(copy)

    def test_ports_of_another_graph(self, copy: Path) -> None:
        data = json.loads((copy / MANIFEST).read_text())
        data["graphs"][STEP]["inputs"][0]["name"] = "noise"
        (copy / MANIFEST).write_text(json.dumps(data))
        assert "other inputs or outputs than its manifest says" in self.refused(copy)

    def test_what_an_export_can_not_do(self, as_onnx: Path) -> None:
        assert "runs on a CPU" in self.refused(as_onnx, device="cuda")
        assert "computes in float32" in self.refused(as_onnx, dtype="bfloat16")
        assert "is an export" in self.refused(as_onnx, text_encoder=as_onnx)
        exported = load(as_onnx)
        with pytest.raises(InvalidRequest, match="an export computes every step whole"):
            exported.generate(replace(REQUESTS["guided"], cache_threshold=0.1))
        with pytest.raises(CheckpointError, match="which can only generate and edit"):
            exported.with_adapters([])

    def test_targets_that_are_not_there(self, as_onnx: Path, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"'tensorrt' is unknown; use onnx or openvino"):
            export(TINY, tmp_path / "new", "tensorrt")  # pyright: ignore[reportArgumentType]
        with pytest.raises(CheckpointError, match="exists already"):
            export(TINY, as_onnx, "onnx")
        with pytest.raises(CheckpointError, match="is an export"):
            export(as_onnx, tmp_path / "new", "onnx")
        assert not list(tmp_path.iterdir())

    def test_nothing_is_left_of_an_export_that_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writing, "TOLERANCE", 0.0)
        monkeypatch.setattr(writing, "OWN_ERRORS", 0.0)
        with pytest.raises(CheckpointError, match=r"differs from torch by .* nothing was written"):
            export(TINY, tmp_path / "new", "openvino")
        assert not list(tmp_path.iterdir())

    def test_what_rounding_alone_does_to_torch_is_let_pass(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writing, "TOLERANCE", 0.0)
        step = next(graph for graph in graphs_of(open_tiny("sao_tiny")) if graph.name == STEP)
        stored = writing.write_graph(step, tmp_path, "onnx")
        assert 0 < stored.difference < PARITY
        monkeypatch.setattr(writing, "_distance", lambda expected, found: math.nan)
        with pytest.raises(CheckpointError, match="differs from torch by nan"):
            writing.write_graph(step, tmp_path, "onnx")

    def test_a_missing_library_is_named(
        self, as_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        for attempt in (lambda: load(as_onnx), lambda: export(TINY, tmp_path / "new", "onnx")):
            with pytest.raises(MissingExtra, match=re.escape("auralith[export]")):
                attempt()

    def test_the_command_says_it_in_one_line(
        self, as_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for arguments in (
            ["export", str(TINY), str(as_onnx), "--to", "onnx"],
            ["export", str(TINY), str(tmp_path / "new"), "--to", "tensorrt"],
            ["inspect", str(as_onnx)],
            ["generate", "rain", "--model", str(as_onnx), "--dtype", "float16"],
        ):
            assert run(arguments) == 2
            assert capsys.readouterr().err.count("\n") == 1

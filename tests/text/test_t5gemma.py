"""The T5Gemma encoder at its published size: names and shapes of every tensor."""

import csv
import json
from math import prod
from pathlib import Path

from auralith.models.lazy_tensor import meta_device
from auralith.models.t5gemma import T5GemmaEncoder
from auralith.text.t5gemma import T5GEMMA, _read_config
from tests.sa3 import SA3

SIZES = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "intermediate_size": 2_048,
    "vocab_size": 256_000,
    "layer_types": ["sliding_attention", "full_attention"] * 6,
}


def test_names_and_shapes_are_the_published_ones(tmp_path: Path) -> None:
    data = json.loads((SA3 / "t5gemma" / "config.json").read_text())
    data["encoder"] |= SIZES
    (tmp_path / "config.json").write_text(json.dumps(data))
    with meta_device():
        model = T5GemmaEncoder(_read_config(tmp_path / "config.json"))
    found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with (SA3 / "t5gemma_encoder.tsv").open() as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    assert found == {row["name"]: tuple(json.loads(row["shape"])) for row in rows}
    parameters = sum(map(prod, found.values()))
    assert parameters == 281_580_288
    assert abs(T5GEMMA.size * 768**2 / parameters - 1) < 2e-3

"""Nothing in a config is silently ignored: every key of every golden config, altered or added at every depth."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from auralith.errors import CheckpointError
from auralith.families.model_config import spec_from_json
from auralith.families.sections import IRRELEVANT
from tests.conftest import GOLDEN

Keys = tuple[str | int, ...]
CONFIGS = {
    path.parent.name if path.stem == "model_config" else path.stem: json.loads(path.read_bytes())
    for path in sorted(GOLDEN.rglob("*model_config.json"))
}
TABLES = {key for name, table in IRRELEVANT.items() for key in table if name != "same"}
READ_BY_THE_REFERENCE: dict[str, dict[str, Any]] = {
    # in objects that have the key: a value of each key that stable-audio-tools reads there, other than its default
    "model_type": {"sample_rate": 1, "audio_channels": 1},
    "pretransform": {"prepend": 1},
    "iterate_batch": {"enable_grad": True, "scale": 2.0, "load_half": True},
    "encoder": {"in_channels": 1, "out_channels": 1, "pretransform": {"type": "patched"}},
    "c_mults": {"use_snake": False, "antialias_activation": True, "use_nearest_upsample": True},
    "cond_dim": {"pre_encoded_keys": ["prompt"], "default_keys": {"prompt": "text"}},
    "t5_model_name": {"enable_grad": True, "padding_mode": "learned"},
    "cross_attention_cond_ids": {
        "prepend_cond_ids": ["prompt"],
        "input_concat_ids": ["prompt"],
        "diffusion_objective": "rectified_flow",
    },
    "embed_dim": {
        "patch_size": 2,
        "num_memory_tokens": 4,
        "prepend_cond_dim": 32,
        "input_concat_dim": 3,
        "global_cond_type": "adaLN",
        "timestep_cond_type": "input_concat",
        "rotary_pos_emb": False,
        "causal": True,
        "conformer": True,
        "use_sinusoidal_emb": True,
        "use_abs_pos_emb": True,
        "final_cross_attn_ix": 1,
        "sliding_window": [31, 32],
        "remove_norms": True,
        "add_rope": True,
        "layer_scale": True,
        "attn_kwargs": {"differential": True},
        "ff_kwargs": {"mult": 2},
        "norm_kwargs": {"bias": True},
        "rotary_embed_dim": 64,
        "supports_x": True,
    },
    "min_val": {"padding": "learned"},
    "patch_size": {"oversampling": 2, "postfilter_channels": 8},
    "auto_scale": {
        "dim": 7,
        "auto_scale": False,
        "noise_augment_dim": 4,
        "noise_regularize": False,
    },
    "variable_stride": {
        "variable_stride": False,
        "dyt": False,
        "differential": False,
        "ff_mult": 4,
        "mapping_bias": False,
        "conv_mapping": True,
        "conformer": True,
        "layer_scale": True,
        "feat_scale": True,
        "cross_attn": True,
        "dim_heads": 32,
        "sliding_window": [2, 2],
        "mask_noise": 0.5,
        "sinusoidal_blocks": [3],
    },
}


def changes_nothing(key: str, found: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether the reference does not compute with a key of an object."""
    if key == "sample_size" and config["model_type"] == "autoencoder":
        return True
    return key in TABLES or ("variable_stride" in found and key in IRRELEVANT["same"])


def objects(data: Any, path: Keys = ()) -> Iterator[tuple[Keys, dict[str, Any]]]:
    if isinstance(data, dict):
        yield path, data
        for key, value in data.items():
            yield from objects(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from objects(value, (*path, index))


def at(data: Any, path: Keys) -> Any:
    for key in path:
        data = data[key]
    return data


def altered(value: Any) -> Any:
    """Another value of the same kind, and one that may well be valid."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 + 2
    if isinstance(value, str):
        return f"{value}_other"
    return value[::-1] if isinstance(value, list) and value[::-1] != value else [7]


def is_noticed(name: str, changed: dict[str, Any]) -> bool:
    """Whether a changed config is another config, or refused in one line."""
    try:
        return spec_from_json(changed) != spec_from_json(CONFIGS[name])
    except CheckpointError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return True


@pytest.mark.parametrize("name", CONFIGS)
def test_every_altered_key_is_noticed(name: str) -> None:
    count = 0
    for path, found in objects(CONFIGS[name]):
        if "training" in path:
            continue
        for key, value in found.items():
            if isinstance(value, dict) or changes_nothing(key, found, CONFIGS[name]):
                continue
            changed = deepcopy(CONFIGS[name])
            at(changed, path)[key] = altered(value)
            assert is_noticed(name, changed), (*path, key)
            count += 1
    assert count > 20


@pytest.mark.parametrize("name", CONFIGS)
def test_every_unknown_key_is_refused_by_name(name: str) -> None:
    for path, _ in objects(CONFIGS[name]):
        if "training" in path or path[-1:] == ("default_keys",):
            continue
        changed = deepcopy(CONFIGS[name])
        at(changed, path)["unheard_of"] = 1
        with pytest.raises(CheckpointError, match="unheard_of"):
            spec_from_json(changed)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_key_that_the_reference_reads_is_honored_or_refused(name: str) -> None:
    tried = set()
    for path, found in objects(CONFIGS[name]):
        for marker, keys in READ_BY_THE_REFERENCE.items():
            if marker not in found or "training" in path:
                continue
            for key, value in keys.items():
                if changes_nothing(key, found, CONFIGS[name]):
                    continue
                changed = deepcopy(CONFIGS[name])
                at(changed, path)[key] = value
                same = value == found.get(key)
                assert same or is_noticed(name, changed), (*path, key)
                tried.add((marker, key))
    assert len(tried) > (20 if CONFIGS[name]["model_type"] == "autoencoder" else 25)


def test_keys_that_change_nothing_are_in_the_table() -> None:
    data = deepcopy(CONFIGS["sao_tiny"])
    data |= dict.fromkeys(IRRELEVANT["model_config"], "any")
    pretransform = data["model"]["pretransform"]
    pretransform |= dict.fromkeys(IRRELEVANT["pretransform"], True)
    for side in ("encoder", "decoder", "bottleneck"):
        pretransform["config"][side]["requires_grad"] = False
    transformer = data["model"]["diffusion"]["config"]
    transformer |= {"zero_init_branch_outputs": False, "ff_kwargs": {"conv_kernel_size": 5}}
    transformer["norm_kwargs"] = {"force_fp32": True, "eps": 1e-5}
    assert spec_from_json(data) == spec_from_json(CONFIGS["sao_tiny"])
    assert all(reason for table in IRRELEVANT.values() for reason in table.values())


def test_an_inpainting_model_and_its_inputs_agree() -> None:
    for change, key in (
        ({"model_type": "diffusion_cond"}, "model_type"),
        ({"input_concat_ids": ["inpaint_mask"]}, "input_concat_dim"),
        ({"input_concat_ids": []}, "model_type"),
        ({"input_concat_ids": ["inpaint_mask", "inpaint_mask"]}, "input_concat_ids"),
    ):
        data = deepcopy(CONFIGS["inpaint"])
        target = data if "model_type" in change else data["model"]["diffusion"]
        target |= change
        with pytest.raises(CheckpointError, match=key):
            spec_from_json(data)


def test_text_is_projected_where_the_reference_projects_it() -> None:
    """Where the widths differ, or where the config asks for it."""
    for name, asked, expected in (
        ("sao_tiny", False, 768),
        ("sao_tiny", True, 768),
        ("sao1_model_config", False, None),
        ("sao1_model_config", True, 768),
    ):
        changed = deepcopy(CONFIGS[name])
        text = changed["model"]["conditioning"]["configs"][0]["config"]
        text["project_out"] = asked
        model = spec_from_json(changed).model
        assert model is not None and model.text.projected_from == expected

"""Run diffusers' own tests of its Stable Audio pipeline and of its autoencoder against ours.

    git clone --depth 1 https://github.com/huggingface/diffusers
    python scripts/peer_tests.py diffusers

The tests are imported from the checkout, only with our classes in place of those they import, and with components that
differ in size: the peer's have attention heads of 4, for which the two libraries disagree on rotary positions, and
fetch a tokenizer. What is skipped or left out is printed with its reason. Exit code 1 if one of them fails.
"""

import importlib
import logging
import sys
import unittest
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
import torch
import typer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

import auralith.compat.diffusers as ours

AUTOENCODER = "tests/models/autoencoders/test_models_autoencoder_oobleck.py"
MODULE = "tests.pipelines.stable_audio.test_stable_audio"
# helpers of image models that the common tests import, and the libraries that these want
IMAGE_HELPERS = (
    "autoencoders.vae",
    "transformers.test_models_transformer_flux",
    "unets.test_models_unet_2d_condition",
)
WIDTH = 64
HOOKS = "hooks of diffusers and accelerate on diffusers' own module classes"
EMPTY = "returns at once for this pipeline, without a check"
EXCLUDED = {
    "test_StableDiffusionMixin_component": EMPTY,
    "test_cpu_offload_forward_pass_twice": HOOKS,
    "test_group_offloading_inference": HOOKS,
    "test_layerwise_casting_inference": EMPTY,
    "test_model_cpu_offload_forward_pass": HOOKS,
    "test_pipeline_level_group_offloading_inference": HOOKS,
    "test_pipeline_level_group_offloading_sanity_checks": HOOKS,
    "test_num_images_per_prompt": EMPTY,
    "test_save_load_optional_components": EMPTY,
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, with T5's padding, end and unknown tokens."""
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ,."
    vocabulary = {token: i for i, token in enumerate(("<pad>", "</s>", "<unk>", *characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=25,
    )


def tiny_text_encoder(vocabulary: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=vocabulary, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    )


def components(downsampling_ratios: list[int]) -> dict[str, Any]:
    """What the peer's tests build, with heads of 64 and text as wide as the other conditions."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    return {
        "transformer": ours.StableAudioDiTModel(
            sample_size=4,
            in_channels=3,
            num_layers=2,
            attention_head_dim=64,
            num_attention_heads=2,
            num_key_value_attention_heads=1,
            out_channels=3,
            cross_attention_dim=WIDTH,
            global_states_input_dim=2 * WIDTH,
            cross_attention_input_dim=WIDTH,
        ),
        "scheduler": ours.CosineDPMSolverMultistepScheduler(),
        "vae": ours.AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=downsampling_ratios,
            decoder_channels=3,
            decoder_input_channels=3,
            audio_channels=2,
            channel_multiples=[2, 4],
            sampling_rate=4,
        ),
        "text_encoder": tiny_text_encoder(len(tokenizer)),
        "tokenizer": tokenizer,
        "projection_model": ours.StableAudioProjectionModel(WIDTH, WIDTH, 0, 32),
    }


def peer_tests(checkout: Path) -> type[unittest.TestCase]:
    sys.path.insert(0, str(checkout))
    sys.modules |= {f"tests.models.{name}": MagicMock() for name in IMAGE_HELPERS}
    module: Any = importlib.import_module(MODULE)
    for name in ours.__all__:
        if hasattr(module, name):
            setattr(module, name, getattr(ours, name))
    # a test reads in diffusers' log which components were loaded
    loader = logging.getLogger("auralith.compat.diffusers.component_set")
    loader.parent = logging.getLogger("diffusers.pipelines.pipeline_utils")

    class PeerTests(module.StableAudioPipelineFastTests):
        pipeline_class = ours.StableAudioPipeline

        def get_dummy_components(self) -> dict[str, Any]:
            # strides of 1, whose output is a sample short, can be built but not read from a file
            stored = any(word in self._testMethodName for word in ("save", "load", "dtype_", "map"))
            return components([2, 2] if stored else [1, 2])

    return PeerTests


class Autoencoders:
    """pytest's hooks: our class in place of theirs, and a verdict for every test."""

    def __init__(self) -> None:
        self.verdicts: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            item.module.AutoencoderOobleck = ours.AutoencoderOobleck

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.verdicts[name] = "FAILED"
        elif report.skipped:
            self.verdicts[name] = f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}"
        elif report.when == "call":
            self.verdicts.setdefault(name, "passed")


def autoencoder_tests(checkout: Path) -> bool:
    """Run the tests of the autoencoder class; return whether none failed."""
    # used by slow tests of the published weights only, which are skipped
    cases = SimpleNamespace(expand=lambda cases: lambda function: function)
    stand_ins = {"datasets": MagicMock(), "parameterized": SimpleNamespace(parameterized=cases)}
    for name, module in stand_ins.items():
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = cast("ModuleType", module)
    hooks = Autoencoders()
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore", f"--rootdir={checkout}"]
    code = pytest.main([str(checkout / AUTOENCODER), *options], plugins=[hooks])
    for name, verdict in hooks.verdicts.items():
        print(f"{name:56}{verdict}")
    return code == 0


def main(checkout: Path) -> None:
    tests = peer_tests(checkout)
    names = unittest.defaultTestLoader.getTestCaseNames(tests)
    suite = unittest.TestSuite(tests(name) for name in names if name not in EXCLUDED)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    verdicts = dict.fromkeys(names, "passed")
    verdicts |= {name: f"excluded: {reason}" for name, reason in EXCLUDED.items()}
    verdicts |= {_name(test): f"skipped: {reason}" for test, reason in result.skipped}
    verdicts |= {_name(test): "FAILED" for test, _ in result.failures + result.errors}
    for name in names:
        print(f"{name:56}{verdicts[name]}")
    passed = autoencoder_tests(checkout)
    raise typer.Exit(0 if result.wasSuccessful() and passed else 1)


def _name(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2]


if __name__ == "__main__":
    typer.run(main)

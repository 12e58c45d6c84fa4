"""A tiny random model that diffusers can hold as well, as a pipeline of ours."""

import torch
from transformers import AutoTokenizer, T5EncoderModel

from auralith.compat.diffusers import (
    AutoencoderOobleck,
    CosineDPMSolverMultistepScheduler,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
)
from tests.conftest import GOLDEN

RATE = 500
HOP = 32
FRAMES = 48
SECONDS = FRAMES * HOP / RATE


def tiny_vae(channels: int = 2) -> AutoencoderOobleck:
    return AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4, 4],
        channel_multiples=[1, 2, 4],
        decoder_channels=4,
        decoder_input_channels=4,
        audio_channels=channels,
        sampling_rate=RATE,
    )


def tiny_pipeline(channels: int = 2) -> StableAudioPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = StableAudioDiTModel(
            sample_size=float(FRAMES),
            in_channels=4,
            num_layers=2,
            attention_head_dim=64,
            num_attention_heads=2,
            num_key_value_attention_heads=1,
            out_channels=4,
            cross_attention_dim=64,
            global_states_input_dim=128,
            cross_attention_input_dim=64,
        )
        vae, projection = tiny_vae(channels), StableAudioProjectionModel(64, 64)
    text = GOLDEN / "sao_tiny" / "t5"
    tokenizer = AutoTokenizer.from_pretrained(text)
    tokenizer.model_max_length = 16
    pipeline = StableAudioPipeline(
        vae,
        T5EncoderModel.from_pretrained(text),
        projection,
        tokenizer,
        transformer,
        CosineDPMSolverMultistepScheduler(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)

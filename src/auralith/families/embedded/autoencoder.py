"""The spectral autoencoder in `model_config.json`: an extension of ours, of type "spectral"."""

from dataclasses import asdict

from auralith.config import SpectralConfig
from auralith.families.family import AutoencoderKind, NameRow
from auralith.families.sections import Section, read_fields
from auralith.foreign import Json
from auralith.models.spectral import Spectral


def _read(section: Section) -> SpectralConfig:
    section.expect("type", "spectral")
    inner = section.section("config")
    config = read_fields(inner, SpectralConfig)
    section.finish()
    positions, rest = divmod(config.bands, config.band_patch * config.band_merge)
    if config.stereo_bands < 1 or config.learned_channels < 1:
        raise inner.error("stereo_bands", "must be positive, and twice that below latent_channels")
    if rest or config.learned_channels % positions:
        raise inner.error("bands", "must divide into patches, and these into the learned channels")
    inner.expect("channels", 2, config.channels)
    if not config.linear_bins < config.bands < config.window_size // 2:
        raise inner.error("bands", "must be above linear_bins and below half of window_size")
    if not config.hop <= config.window_size:
        raise inner.error("hop", "must not be above window_size")
    return config


def _to_json(config: SpectralConfig) -> Json:
    return {"type": "spectral", "config": asdict(config)}


def _rows(config: SpectralConfig) -> tuple[NameRow, ...]:
    """Published files hold our own names."""
    return (NameRow("", "", None),)


SPECTRAL = AutoencoderKind(
    title="a spectral autoencoder",
    config=SpectralConfig,
    describes=lambda data: data.get("type") == "spectral",
    read=_read,
    to_json=_to_json,
    build=Spectral,
    rows=_rows,
)

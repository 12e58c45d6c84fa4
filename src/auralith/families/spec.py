"""The contents of a checkpoint."""

from dataclasses import dataclass

from auralith.config import AudioFormat, AutoencoderConfig, ModelConfig, NumberCondition


@dataclass(frozen=True)
class Spec:
    """Contents of a checkpoint: a whole model, or only an autoencoder (`model` is None)."""

    audio: AudioFormat
    autoencoder: AutoencoderConfig
    model: ModelConfig | None = None

    @staticmethod
    def of(config: ModelConfig) -> "Spec":
        return Spec(config.audio, config.autoencoder, config)

    @property
    def numbers(self) -> tuple[NumberCondition, ...]:
        return self.model.numbers if self.model else ()

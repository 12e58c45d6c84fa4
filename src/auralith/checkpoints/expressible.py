"""What `model_config.json` can say of a transformer; the diffusers layout can say more of its attention."""

from dataclasses import replace

from auralith.config import DiTConfig
from auralith.errors import CheckpointError


def require_single_file(config: DiTConfig) -> None:
    """Raise a CheckpointError that says why `model_config.json` can't describe a transformer."""
    plain = replace(
        config,
        timestep_frequencies=DiTConfig.timestep_frequencies,
        projected_context_dim=None,
        context_heads=None,
        rotated_dim=None,
    )
    reasons = {
        f"{config.timestep_frequencies} frequencies of the timestep": (
            config.timestep_frequencies != plain.timestep_frequencies
        ),
        f"a context projected to {config.context_width}": (
            config.context_width != plain.context_width
        ),
        f"{config.num_context_heads} key/value heads": (
            config.num_context_heads != plain.num_context_heads
        ),
        f"rotary positions in {config.rotary_dim} dimensions of a head": (
            config.rotary_dim != plain.rotary_dim
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise CheckpointError(
                f"a model with {reason} has no single-file form; keep it in the diffusers layout"
            )

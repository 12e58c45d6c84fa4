"""The outline of a sound, to be drawn: the lowest and the highest sample of each of some stretches."""

import numpy as np
from jaxtyping import Float


def outline(
    samples: Float[np.ndarray, "channel sample"], count: int
) -> tuple[list[float], list[float]]:
    """Return the lowest and the highest sample of `count` stretches, or of each sample where there are fewer."""
    num_samples = samples.shape[1]
    starts = np.linspace(0, num_samples, min(count, num_samples), endpoint=False).astype(int)
    low = np.minimum.reduceat(samples.min(axis=0), starts)
    high = np.maximum.reduceat(samples.max(axis=0), starts)
    return _rounded(low), _rounded(high)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]

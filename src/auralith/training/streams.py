"""Random numbers of training: a function of the seed, the step and the item's position in the global batch.

Nothing carries a state from step to step. A resumed run, a run on more processes and a run that accumulates gradients
therefore see the same crops, noise and timesteps as a run that does not.
"""

import numpy as np


def item_rng(seed: int, step: int, position: int) -> np.random.Generator:
    """The stream of one item of one step; the streams of different items are independent."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(step, position)))

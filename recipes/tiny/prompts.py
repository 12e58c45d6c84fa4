"""Prompts that the embedded model knows, for the server's dice: `python -m recipes.tiny.prompts` writes them again.

Every sound of the corpus once or more, in the words of its captions; none of the values that are held out.
"""

from pathlib import Path

import numpy as np

import auralith
from recipes.tiny.synth.captions import caption
from recipes.tiny.synth.sounds import draw_sound

FILE = Path(auralith.__file__).with_name("server") / "prompts.txt"
COUNT = 512


def prompts(count: int = COUNT) -> list[str]:
    """Return so many different prompts, sorted; the same ones each time."""
    rng = np.random.default_rng(0)
    found: set[str] = set()
    while len(found) < count:
        found.add(caption(draw_sound(rng), rng))
    return sorted(found)


if __name__ == "__main__":
    FILE.write_text("\n".join(prompts()) + "\n", encoding="utf-8")

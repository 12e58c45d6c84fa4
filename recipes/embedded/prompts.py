"""Prompts that the embedded model knows, for the server's dice and `auralith words`.

`python -m recipes.embedded.prompts --recordings TABLE` writes them again: every kind of sound of the corpus twice or more,
in the words of its captions; none of the values that are held out.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import auralith
from auralith.cli.main import run
from auralith.files import whole_file
from recipes.embedded.corpus import Corpus, Library

FILE = Path(auralith.__file__).with_name("server") / "prompts.txt"
COUNT = 768
OF_A_KIND = 2


def prompts(corpus: Corpus, count: int = COUNT) -> list[str]:
    """Return `count` different prompts or, if it takes more to name every kind, more, sorted; the same ones each time."""
    rng = np.random.default_rng(0)
    missing = Counter(dict.fromkeys(corpus.labels["kind"], OF_A_KIND))
    found: set[str] = set()
    while len(found) < count or missing.total():
        sound = corpus.draw(rng)
        kind = corpus.label(sound)["kind"]
        caption = corpus.caption(sound, rng, plain=True)
        if caption not in found and (len(found) < count - missing.total() or missing[kind]):
            found.add(caption)
            missing[kind] = max(0, missing[kind] - 1)
    return sorted(found)


def main(
    recordings: Annotated[Path | None, typer.Option(help="Table of training.")] = None,
) -> None:
    """Write the prompts into the package."""
    corpus = Corpus(Library(recordings) if recordings else None)
    with whole_file(FILE) as file:
        file.write(("\n".join(prompts(corpus)) + "\n").encode())


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(main)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], app, "python -m recipes.embedded.prompts"))

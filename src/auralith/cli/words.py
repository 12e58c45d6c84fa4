"""`auralith words`: the words that a model has learned, each with a prompt that has it."""

import json
import re
from collections.abc import Sequence
from typing import Annotated

import typer

from auralith.cli.lines import cell
from auralith.cli.options import AsJson, ModelOption, TextEncoderOption


def words(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Part of a word, or a whole one with * and ?; every word if left out."),
    ] = None,
    model: ModelOption = None,
    text_encoder: TextEncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """List the words that a model knows, each with a prompt that has it where there is one.

    Notes and numbers are known besides. Published models read every word by its parts, and have no such list.
    """
    from auralith.errors import InvalidRequest, shown
    from auralith.pipeline.describing import describe
    from auralith.provenance import EMBEDDED_NAME
    from auralith.server.words import PROMPTS
    from auralith.text.vocabulary import Vocabulary

    name = EMBEDDED_NAME if model is None else model
    facts = describe(model, text_encoder=text_encoder, with_text_encoder=model is not None)
    if facts.tokenizer is None:
        raise InvalidRequest(f"{name} has no text encoder beside it; name one by --text-encoder")
    found = Vocabulary.read(facts.tokenizer).words(pattern or "")
    if found is None:
        raise InvalidRequest(
            f"{name} reads every word by its parts, so there is no list of those it knows"
        )
    if not found:
        raise InvalidRequest(f"{name} knows no word like {shown(pattern)}")
    prompts = PROMPTS.read_text(encoding="utf-8").splitlines() if model is None else []
    examples = _examples(found, prompts)
    if as_json:
        print(json.dumps({"words": [{"word": w, "example": examples.get(w)} for w in found]}))
        return
    width = max(map(len, found))
    for word in found:
        print(f"{cell(word):<{width}}  {cell(examples.get(word, ''))}".rstrip())


def _examples(found: Sequence[str], prompts: Sequence[str]) -> dict[str, str]:
    """Return the shortest prompt with each word, of those that have one."""
    wanted, examples = set(found), dict[str, str]()
    for prompt in sorted(prompts, key=len):
        for word in re.findall(r"[^\W\d_]+", prompt.casefold()):
            if word in wanted:
                examples.setdefault(word, prompt)
    return examples

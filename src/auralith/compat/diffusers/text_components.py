"""The pipeline's text encoder and tokenizer, which are objects of the transformers library, as programs expect them."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auralith.config import ModelConfig
from auralith.errors import CheckpointError
from auralith.families.registry import text_encoder_kind
from auralith.foreign import CONFIG_ERRORS, read_json, without_code
from auralith.models.lazy_tensor import meta_device, weights_of
from auralith.models.text_network import TextNetwork
from auralith.tensor_files import write_json, write_safetensors
from auralith.text.encoder import TextEncoder, TextEncoderFolders
from auralith.text.foreign_tokenizer import open_foreign_tokenizer
from auralith.text.t5 import TIED
from auralith.text.tokenizer_files import copy_tokenizer

if TYPE_CHECKING:
    import transformers

CPU = torch.device("cpu")


class ForeignNetwork(TextNetwork):
    """A network of the transformers library."""

    def __init__(self, model: "transformers.T5EncoderModel") -> None:
        super().__init__()
        self.model = model

    @property
    def embedding(self) -> nn.Embedding:
        embedding = self.model.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        return embedding

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state


class ForeignTokenizer:
    """A tokenizer of the transformers library."""

    def __init__(self, tokenizer: "transformers.PreTrainedTokenizerBase") -> None:
        assert isinstance(tokenizer.pad_token_id, int)  # T5's have one
        self.tokenizer, self.name = tokenizer, str(tokenizer.name_or_path)
        self.pad_id = tokenizer.pad_token_id
        self.num_special_tokens = tokenizer.num_special_tokens_to_add()
        self.backend = getattr(tokenizer, "backend_tokenizer", None)  # slow ones have none

    def ids(self, text: str, most: int | None = None) -> list[int]:
        # not verbose: transformers would warn too, that the model fails on what is cut off here
        found = self.tokenizer(
            [text], truncation=most is not None, max_length=most, padding=False, verbose=False
        )
        return found["input_ids"][0]

    def decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        assert isinstance(text, str)
        return text


@dataclass(frozen=True)
class TextComponents:
    """The two together."""

    text_encoder: "transformers.T5EncoderModel"
    tokenizer: "transformers.PreTrainedTokenizerBase"

    def encoder(self) -> TextEncoder:
        """Return them as a text encoder of ours."""
        return TextEncoder(ForeignNetwork(self.text_encoder), ForeignTokenizer(self.tokenizer))


def open_text_components(
    folders: TextEncoderFolders, config: ModelConfig, dtype: torch.dtype, variant: str | None
) -> dict[str, Any]:
    """Return "text_encoder" and "tokenizer" on the CPU, checked as for our own network. Raises CheckpointError."""
    checked = text_encoder_kind(config).open(folders, config.text_width, CPU, dtype, variant)
    model = _without_memory(folders.model / "config.json")
    model.load_state_dict(checked.model.state_dict(), strict=True, assign=True)
    model.tie_weights()
    tokenizer = open_foreign_tokenizer(folders.tokenizer)
    tokenizer.model_max_length = config.text.max_tokens
    return {"text_encoder": model.eval(), "tokenizer": tokenizer}


def _without_memory(path: Path) -> "transformers.T5EncoderModel":
    from huggingface_hub.errors import StrictDataclassError
    from transformers import T5Config, T5EncoderModel

    try:
        config = T5Config.from_dict(without_code(read_json(path)))
        with meta_device():
            return T5EncoderModel(config)
    except (StrictDataclassError, *CONFIG_ERRORS) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is no T5 config: {reason}") from None


def save_text_components(folder: Path, text: TextComponents) -> None:
    """Write both into one folder in the form of the transformers library."""
    model = text.text_encoder
    device = model.device
    nn.Module.to(model, CPU)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != TIED}
    write_safetensors(folder / "model.safetensors", weights_of(state))
    nn.Module.to(model, device)
    config = {"architectures": ["T5EncoderModel"]} | model.config.to_dict()
    config.pop("_name_or_path", None)  # where it was read from says nothing about the model
    write_json(folder / "config.json", config)
    with tempfile.TemporaryDirectory() as temporary:
        text.tokenizer.save_pretrained(temporary)
        copy_tokenizer(Path(temporary), folder)

"""The base of the three networks under diffusers' names (a config, tensors, files, switches), and what they return.

A component holds one of our networks. `state_dict` and `load_state_dict` translate the names of its tensors through
torch's own hooks, so that a dict or a file of diffusers fits; what does not fit is an error whatever `strict` says.
Outputs and configs are readable by attribute, key and index.
"""

import inspect
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.checkpoints.component import (
    component_state,
    component_weights,
    find_folder,
    read_folder,
    write_folder,
)
from auralith.checkpoints.hub import HubOptions
from auralith.checkpoints.opening import locate, open_networks
from auralith.errors import InvalidRequest
from auralith.families.family import Spec
from auralith.families.registry import Networks
from auralith.foreign import read_json
from auralith.models.embedders import Fourier
from auralith.models.lazy_tensor import weights_of


class Config(dict[str, Any]):
    """A component's settings: `config["sample_size"]`, `config.sample_size` and `dict(config)`; not to be changed."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"this config has no {name!r}; it has {', '.join(self)}")
        return self[name]

    def __setitem__(self, key: str, value: object) -> None:
        raise InvalidRequest(f"a config is fixed; build the component anew with {key}={value!r}")

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value


@dataclass
class BaseOutput:
    """A result by attribute, by key, or by index; fields that are None are left out of all but the first."""

    def keys(self) -> list[str]:
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def values(self) -> tuple[Any, ...]:
        return self.to_tuple()

    def items(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.keys()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]


@dataclass
class AudioPipelineOutput(BaseOutput):
    """`audios` is (batch, channel, sample), or (batch, channel, frame) for `output_type="latent"`."""

    audios: Float[Tensor, "batch channel sample"] | Float[np.ndarray, "batch channel sample"]


Part = TypeVar("Part", bound="Component")
VERSION = "0.42.1"
log = logging.getLogger(__name__)


class Component(nn.Module, ABC):
    """A network with its `config`. Subclasses say which component of a folder it is, and what describes its tensors."""

    component: ClassVar[str]
    _class_name: ClassVar[str]
    prefix: ClassVar[str] = "network."
    _supports_gradient_checkpointing = False
    _keep_in_fp32_modules: ClassVar[list[str] | None] = None
    _no_split_modules = None
    config: Config

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = Config(config)
        self.register_state_dict_post_hook(_to_diffusers)
        self.register_load_state_dict_pre_hook(_from_diffusers)

    @property
    @abstractmethod
    def spec(self) -> Spec | None:
        """Return what describes the tensors; None if diffusers has no names for them, and they keep ours."""

    @classmethod
    @abstractmethod
    def of_networks(cls, networks: Networks, spec: Spec) -> "Component":
        """Return the component of a whole model of any layout."""

    # --- configs ---

    @classmethod
    def from_config(cls: type[Part], config: Mapping[str, Any], **changes: Any) -> Part:
        """A component with random weights from another one's config, or from a file's; absent keys get their defaults.

        Raises InvalidRequest for a key that the class does not have; those that begin with `_` are diffusers' notes.
        """
        known = inspect.signature(cls.__init__).parameters
        settings = {k: v for k, v in {**config, **changes}.items() if not k.startswith("_")}
        for name in settings:
            if name not in known:
                raise InvalidRequest(f"{cls.__name__} has no setting {name!r:.80}; leave it out")
        return cls(**settings)

    @classmethod
    def load_config(
        cls, source: str | Path, subfolder: str | None = None, **hub: Any
    ) -> dict[str, Any]:
        """The `config.json` of a stored component. Raises CheckpointError and InvalidRequest."""
        folder = find_folder(source, subfolder, HubOptions(**hub))
        if folder is None:
            raise InvalidRequest(f"{source} has no {subfolder or '.'}/config.json; name the folder")
        return read_json(folder / "config.json")

    def register_to_config(self, **settings: Any) -> None:
        """Note settings of your own in the config; they are stored with it."""
        self.config = Config(self.config | settings)

    def __getattr__(self, name: str) -> Any:
        """Modules and parameters; then, as in diffusers, the config's values with a FutureWarning."""
        config = self.__dict__.get("config", {})
        if name in config:
            warnings.warn(
                f"read {name} from the config: {type(self).__name__}.config.{name}",
                FutureWarning,
                stacklevel=2,
            )
            return config[name]
        return super().__getattr__(name)

    # --- files ---

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        subfolder: str | None = None,
        variant: str | None = None,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        device_map: str | torch.device | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = True,
        **changes: Any,
    ) -> Any:
        """The component in eval mode, from a folder or a Hub repository; of any other checkpoint, its own part.

        `dtype` (`torch_dtype` is its older name) is float32 if None; `device_map` is a device; `changes` replace values
        of the stored config. `use_safetensors` and `low_cpu_mem_usage` change nothing. Raises CheckpointError (an OSError
        too if the variant is missing), and InvalidRequest for arguments that exclude each other.
        """
        if dtype is not None and torch_dtype is not None:
            raise InvalidRequest("give dtype or torch_dtype, which is its older name, not both")
        hub = HubOptions(revision, cache_dir, token, local_files_only, force_download)
        kind = dtype or torch_dtype or torch.float32
        folder = find_folder(pretrained_model_name_or_path, subfolder, hub)
        if folder is None:
            loaded = cls._of_checkpoint(pretrained_model_name_or_path, kind, hub, variant)
        else:
            loaded = cls._of_folder(folder, variant, kind, changes)
        return loaded.eval() if device_map is None else loaded.eval().to(device_map)

    @classmethod
    def _of_checkpoint(
        cls, source: str | Path, dtype: torch.dtype, hub: HubOptions, variant: str | None
    ) -> "Component":
        raw = locate(source, hub=hub, variant=variant)
        raw = raw.autoencoder_only() if cls.component == "vae" else raw
        return cls.of_networks(open_networks(raw, torch.device("cpu"), dtype), raw.spec)

    @classmethod
    def _of_folder(
        cls, folder: Path, variant: str | None, dtype: torch.dtype, changes: Mapping[str, Any]
    ) -> "Component":
        config, weights = read_folder(folder, variant)
        with torch.device("meta"):
            loaded = cls.from_config(config, **changes).to(dtype)
        expected, spec = loaded._own_state(), loaded.spec
        assert spec is not None  # every constructor builds what diffusers has names for
        found = component_state(cls.component, weights, expected, spec, folder)
        cpu = torch.device("cpu")
        state = {f"{cls.prefix}{n}": t.load(cpu, expected[n].dtype) for n, t in found.items()}
        for name, parameter in list(loaded.named_parameters()):
            _assign(loaded, name, state[name], parameter.requires_grad)
        return loaded

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str = "10GB",
    ) -> None:
        """Write `config.json` and the weights, as diffusers reads them; older weights of the variant are replaced.

        Only the main process writes. Pickles are not written: with `safe_serialization=False` a warning says so. Raises
        CheckpointError for a network that diffusers can't express.
        """
        if not is_main_process:
            return
        if not safe_serialization:
            log.warning("pickled weights can run code when they are read; writing safetensors")
        head = {"_class_name": self._class_name, "_diffusers_version": VERSION}
        state = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        weights = weights_of(state)
        write_folder(Path(save_directory), head | self.config, weights, variant, max_shard_size)

    def _own_state(self) -> dict[str, Tensor]:
        """The network's tensors under our names, without the prefix."""
        found = dict(self.named_parameters())
        return {name.removeprefix(self.prefix): p.detach() for name, p in found.items()}

    # --- switches ---

    @property
    def is_gradient_checkpointing(self) -> bool:
        return False

    def enable_gradient_checkpointing(self) -> None:
        """Raises InvalidRequest for a network whose activations are always kept."""
        raise InvalidRequest(f"{self._class_name} does not support gradient checkpointing")

    def disable_gradient_checkpointing(self) -> None:
        """Keep the activations; the autoencoder always does."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Return what the network computes in."""
        cast = (m for m in self.modules() if not isinstance(m, Fourier))
        return next(p.dtype for module in cast for p in module.parameters(recurse=False))

    def num_parameters(self, only_trainable: bool = False) -> int:
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)


def _assign(module: nn.Module, name: str, values: Tensor, trained: bool) -> None:
    owner, _, last = name.rpartition(".")
    parameter = nn.Parameter(values, requires_grad=trained)
    module.get_submodule(owner).register_parameter(last, parameter)


def _to_diffusers(
    module: Component, state: dict[str, Any], prefix: str, local_metadata: object
) -> None:
    spec, own = module.spec, prefix + module.prefix
    if spec is None:
        return
    names = [name for name in state if name.startswith(own)]
    taken = {name.removeprefix(own): state.pop(name) for name in names}
    for name, tensor in component_weights(module.component, taken, spec).items():
        state[prefix + name] = tensor.read()


def _from_diffusers(module: Component, state: dict[str, Any], prefix: str, *rest: object) -> None:
    """Raises CheckpointError unless every tensor fits."""
    spec, own = module.spec, prefix + module.prefix
    if spec is None:
        return
    names = [name for name in state if name.startswith(prefix)]
    found = weights_of({name.removeprefix(prefix): state.pop(name) for name in names})
    expected = module._own_state()
    ours = component_state(module.component, found, expected, spec, "the state dict")
    state |= {own + name: tensor.read() for name, tensor in ours.items()}

"""Compute what an adapter changes: the sum that each of its modules adds to the weight of a model that it means.

A change is a low-rank sum, with or without trained lengths of rows and columns. With W as out × in (a convolution's
taps belong to "in"), s = α/r, and Δ = s·BA, or s·U·M·Vᵀ for the kinds that end in `-xs`, where U and V are the first r
singular vectors of the model's weight:

| kind      | trained weight                                                        | paper            |
|-----------|-----------------------------------------------------------------------|------------------|
| lora      | W + Δ                                                                 | arXiv 2106.09685 |
| dora      | the rows of W + Δ, each at its trained length                         | arXiv 2402.09353 |
| dora-cols | the columns of W + Δ, each at its trained length                      |                  |
| bora      | the rows at their trained lengths, then the columns at theirs         | arXiv 2412.06441 |
| …-xs      | the same with M (r × r) as the only trained factor                    | arXiv 2405.17604 |

The table of names (`rename`) gives the dotted names of ours, of stable-audio-tools and of diffusers for every linear
layer and convolution. Programs put prefixes before them and some write `_` or `/` for the dots, so names are compared
with all of these as `_`. Queries, keys and values that are apart there are blocks of rows in ours.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.families.family import FUSED, Column, Spec, rename
from auralith.families.registry import block_order, prefixes, without_memory
from auralith.models.lazy_tensor import LazyTensor

SMALLEST_LENGTH = 1e-12
NAMES = {
    (False, False): "lora",
    (True, False): "dora",
    (False, True): "dora-cols",
    (True, True): "bora",
}


@dataclass(frozen=True, eq=False)
class Change:
    """The change of one weight, still in its file: A and B, or the core M, and the lengths of rows and columns."""

    rank: int
    alpha: float
    scale: float
    """α/r, or α/√r where the adapter says so."""
    a: LazyTensor | None = None
    b: LazyTensor | None = None
    core: LazyTensor | None = None
    rows: LazyTensor | None = None
    columns: LazyTensor | None = None
    stacks: bool = False
    """It changes what those before it have made, and strength multiplies Δ before lengths are applied, as Stable Audio 3
    does; else it changes the model's weight, and strength multiplies the whole change."""
    scales_bias: bool = False
    """The factors of the rows apply to the module's bias too, as in LoRAW."""

    @property
    def kind(self) -> str:
        """One of the names in the table above."""
        name = NAMES[self.rows is not None, self.columns is not None]
        return name if self.core is None else f"{name}-xs"

    def misfit(self, out: int, columns: int) -> str | None:
        """The first tensor that does not fit a weight of this size, in words; None if all do."""
        wanted = {
            "A": (self.a, (self.rank, columns)),
            "B": (self.b, (out, self.rank)),
            "M": (self.core, (self.rank, self.rank)),
        }
        for name, (tensor, shape) in wanted.items():
            if tensor is not None and flat_shape(tensor.shape) != shape:
                return f"{name} is {sizes(flat_shape(tensor.shape))}, not {sizes(shape)}"
        if self.core is not None and self.rank > min(out, columns):
            return f"M is {self.rank} wide, but the weight has only {min(out, columns)} singular vectors"
        for name, tensor, count in (("rows", self.rows, out), ("columns", self.columns, columns)):
            if tensor is not None and tensor.numel != count:
                return f"it has lengths of {tensor.numel} {name}, not {count}"
        return None

    def change(
        self,
        weight: Float[Tensor, "out columns"],
        pristine: Float[Tensor, "out columns"],
        strength: float = 1.0,
    ) -> Float[Tensor, "out columns"]:
        """Return what the adapter adds to a float32 weight. A row or column of zeros stays zero.

        The singular vectors are those of the model's weight, `pristine`.
        """
        inner, outer = (strength, 1.0) if self.stacks else (1.0, strength)
        low_rank = inner * self.scale * self._product(pristine)
        if self.rows is None and self.columns is None:
            return outer * low_rank
        changed = weight + low_rank
        if self.rows is not None:
            changed = changed * _factors(changed, self.rows, 1)
        if self.columns is not None:
            changed = changed * _factors(changed, self.columns, 0)
        return outer * (changed - weight)

    def bias_change(
        self,
        weight: Float[Tensor, "out columns"],
        bias: Float[Tensor, " out"],
        strength: float = 1.0,
    ) -> Float[Tensor, " out"]:
        """Return what the adapter adds to the bias: nothing unless `scales_bias`."""
        if self.rows is None or not self.scales_bias:
            return torch.zeros_like(bias)
        directed = weight + self.scale * self._product(weight)
        return strength * (_factors(directed, self.rows, 1).flatten() - 1) * bias

    def _product(self, weight: Tensor) -> Tensor:
        if self.core is not None:
            left, right = _singular_vectors(weight, self.rank)
            return left @ self.core.read().float() @ right
        assert self.a is not None and self.b is not None  # checked when the file was read
        return self.b.read().float().flatten(1) @ self.a.read().float().flatten(1)


def flat_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape as a matrix: everything after the first axis belongs to the columns."""
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)


def sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _factors(matrix: Tensor, lengths: LazyTensor, axis: int) -> Tensor:
    norms = torch.linalg.vector_norm(matrix, dim=axis, keepdim=True)
    return lengths.read().float().reshape(norms.shape) / (norms + SMALLEST_LENGTH)


def _singular_vectors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The first left and right singular vectors; the largest entry of each left one is positive, as in the reference."""
    left, _, right = torch.linalg.svd(weight.cpu().float(), full_matrices=False)
    signs = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    signs[signs == 0] = 1
    return (left * signs)[:, :rank], (right * signs.T)[:rank]


# what programs put before a name, possibly several of them
OUTER = ("base_model_model", "lora_unet", "lora_transformer", "lora", "lycoris", "diffusion")
# beginnings in the columns of the table → how each may be written, without the dots
HEADS = {
    "dit.": ("", "dit", "transformer"),
    "model.model.": ("", "model", "model_model", "diffusion_model", "model_diffusion_model"),
    "transformer.": ("", "transformer", "unet"),
    "numbers.": ("numbers",),
    "conditioner.": ("", "conditioner"),
    "projection_model.": ("", "projection_model"),
    "autoencoder.": ("autoencoder",),
    "pretransform.model.": ("", "pretransform_model", "autoencoder"),
    "vae.": ("", "vae"),
}
COLUMNS: tuple[Column, ...] = ("single_file", "diffusers", "ours")
# the attention processors of older versions of diffusers
PROCESSOR = re.compile(r"\.processor\.(to_\w+?)(_lora)?$")
PARTS = {"dit": "transformer", "numbers": "timing embedders", "autoencoder": "autoencoder"}


@dataclass(frozen=True)
class Place:
    """A weight of ours, or a block of its rows."""

    module: str
    first: int
    end: int
    columns: int
    """Width of a row; of a convolution, with its taps."""

    @property
    def rows(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class Fit:
    """Report how an adapter fits a model: what goes where, and what does not."""

    placed: tuple[tuple[Place, Change], ...]
    unmatched: tuple[str, ...]
    """Modules of the adapter that the model does not have."""
    misshapen: tuple[str, ...]
    """Modules that it has in another size, in words."""
    adaptable: Mapping[str, int] = field(repr=False)
    """Number of modules that could be adapted, by part of the model."""

    @property
    def touched(self) -> dict[str, int]:
        """Number of modules that the adapter changes, by part of the model."""
        modules = {place.module for place, _ in self.placed}
        return {part: sum(_part(module) == part for module in modules) for part in self.adaptable}

    @property
    def problem(self) -> str | None:
        """Why the adapter can't be used with the model, in one line; None if it can."""
        total = len(self.placed) + len(self.unmatched) + len(self.misshapen)
        reasons = []
        if self.unmatched:
            first = f"first {self.unmatched[0]!r:.120}"
            reasons.append(
                f"{len(self.unmatched)} of its {total} modules are not in the model ({first})"
            )
        if self.misshapen:
            reasons.append(
                f"{len(self.misshapen)} of {total} are of another size (first {self.misshapen[0]:.160})"
            )
        return "; ".join(reasons) or self._overlap()

    def _overlap(self) -> str | None:
        ends: dict[str, int] = {}
        for place, _ in sorted(self.placed, key=lambda one: (one[0].module, one[0].first)):
            if place.first < ends.get(place.module, 0):
                return f"it changes {place.module} twice"
            ends[place.module] = place.end
        return None


def fit(changes: Mapping[str, Change], spec: Spec) -> Fit:
    """Place every change of an adapter into a model of this kind."""
    shapes = adaptable_shapes(spec)
    table = _names(shapes, spec)
    placed, unmatched, misshapen = [], [], []
    for name, change in changes.items():
        place = _find(name, table)
        problem = None if place is None else change.misfit(place.rows, place.columns)
        if place is None:
            unmatched.append(name)
        elif problem:
            misshapen.append(f"{name!r}: {problem}")
        else:
            placed.append((place, change))
    parts = [_part(module) for module in shapes]
    counts = {part: parts.count(part) for part in PARTS.values() if part in parts}
    return Fit(tuple(placed), tuple(unmatched), tuple(misshapen), counts)


def adaptable_shapes(spec: Spec) -> dict[str, tuple[int, int]]:
    """Our linear layers and convolutions, and their weights' sizes as out × in."""
    return {
        name: flat_shape(tuple(module.weight.shape))
        for name, module in without_memory(spec).named_modules()
        if isinstance(module, (nn.Linear, nn.Conv1d))
    }


def _part(module: str) -> str:
    return PARTS[module.partition(".")[0]]


def _names(shapes: Mapping[str, tuple[int, int]], spec: Spec) -> dict[str, Place]:
    """Every way to write the name of a module, with all separators as `_`."""
    return {name: place for column in COLUMNS for name, place in spellings(shapes, spec, column)}


def spellings(
    shapes: Mapping[str, tuple[int, int]], spec: Spec, column: Column
) -> Iterator[tuple[str, Place]]:
    """The names of all modules in one column of the table, with every beginning that programs use."""
    table = prefixes(spec, "ours", column) if column != "ours" else None
    published = prefixes(spec, "ours", "single_file")
    for module, (out, columns) in shapes.items():
        dotted = f"{module}.weight" if table is None else rename(f"{module}.weight", table)
        source = rename(f"{module}.weight", published) or ""
        if column == "diffusers" and block_order(source, spec) is not None:
            continue  # its rows are in another order, which changes don't follow
        if dotted is not None:
            for name, first, end in _blocks(dotted, out):
                place = Place(module, first, end, columns)
                yield from ((written, place) for written in _written(name))


def _blocks(dotted: str, out: int) -> Iterator[tuple[str, int, int]]:
    """A weight's name and all its rows, then the names of its parts and theirs."""
    yield dotted.removesuffix(".weight"), 0, out
    for fused, parts in FUSED.items():
        if dotted.endswith(f".{fused}"):
            size = out // len(parts)
            for index, part in enumerate(parts):
                name = dotted.removesuffix(fused) + part.removesuffix(".weight")
                yield name, index * size, (index + 1) * size


def _written(dotted: str) -> Iterable[str]:
    head = next((head for head in HEADS if dotted.startswith(head)), "")
    core = flattened(dotted.removeprefix(head))
    cores = [core, core.removesuffix("_0")] if dotted.endswith(".to_out.0") else [core]
    return [f"{start}_{core}" if start else core for core in cores for start in HEADS.get(head, ())]


def _find(name: str, table: Mapping[str, Place]) -> Place | None:
    rest = flattened(PROCESSOR.sub(r".\1", name))
    while rest not in table:
        outer = next((start for start in OUTER if rest.startswith(f"{start}_")), None)
        if outer is None:
            return None
        rest = rest.removeprefix(f"{outer}_")
    return table[rest]


def flattened(name: str) -> str:
    """The name with every separator as `_`."""
    return name.replace(".", "_").replace("/", "_")

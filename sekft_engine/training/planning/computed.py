"""The memory of a base, a training step and an eval, computed from the base's shape.

What a step holds follows from what the operations of a decoder layer keep for their backward pass.
There are two kinds: on a CPU in float32 sekft's own linear layers
(:mod:`sekft_engine.model.kernels.lora`), which keep an input once for all layers that read it; else
PEFT's, which make a float32 copy of the input for each adapted layer and keep it after dropout.
Tests hold these formulas to measured peaks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from sekft_engine.bases.shape import DecoderShape, LinearShape
from sekft_engine.core.machine import usable_threads
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.kernels.cross_entropy import MAX_LOGITS
from sekft_engine.model.kernels.packed_linear import PACKED_BYTES
from sekft_engine.model.kernels.parallel_parts import PARTS
from sekft_engine.operators.kv import CHUNK
from sekft_engine.training.planning.speed import adapter_weights
from sekft_engine.training.planning.step import StepMemory

#: Bytes of a number in float32; of an adapter's weights, always.
_FLOAT = 4
#: Bytes per weight in NF4 with double quantisation (Dettmers et al. 2023, arXiv 2305.14314): half a
#: byte, a byte per 64 weights for their scale, and a float per 256 scales.
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
#: Bytes of the tables of each 4-bit matrix: 16 values of NF4, 256 of its scales, an offset.
_NF4_TABLES = 4 * (16 + 256 + 1)
#: Layers that read the same tensor.
_INTO_ATTENTION = ("q_proj", "k_proj", "v_proj", "qkv_proj")
_INTO_MLP = ("gate_proj", "up_proj", "gate_up_proj")


class Computing(msgspec.Struct, frozen=True, kw_only=True):
    """How a base computes on a device.

    Attributes:
        device: its kind.
        width: bytes of a number: 4 in float32, 2 in bfloat16.
        parts: how many parts of a pass are computed in parallel.
    """

    device: Literal["cpu", "cuda"] = "cuda"
    width: int = 2
    parts: int = 1

    @property
    def own_kernels(self) -> bool:
        """Whether adapted layers are sekft's own, not PEFT's."""
        return self.device == "cpu" and self.width == _FLOAT


def on_cpu() -> Computing:
    """How a base computes on this machine's processor. Needs no torch."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(named) if named.isdecimal() else usable_threads()
    return Computing(device="cpu", width=_FLOAT, parts=PARTS if threads % PARTS == 0 else 1)


# --- what does not depend on the rows -------------------------------------------------------------


def base_bytes(shape: DecoderShape, computing: Computing, *, load_4bit: bool = False) -> int:
    """Bytes of the base's weights. In 4 bits embeddings, head, norms and biases stay whole."""
    width = computing.width
    if not load_4bit:
        return shape.weights * width
    tables = shape.layers * len(shape.linears) * _NF4_TABLES
    return round(shape.in_linears * _NF4) + tables + (shape.weights - shape.in_linears) * width


def adapter_bytes(shape: DecoderShape, recipe: Recipe) -> int:
    """Bytes of an adapter's weights, which are held in float32.

    Raises:
        BadInput: the recipe's targets are not layers of this base.
    """
    return _FLOAT * adapter_weights(shape, recipe)


def eval_bytes(
    shape: DecoderShape, computing: Computing, rows: int, tokens: int, *, load_4bit: bool = False
) -> tuple[int, int]:
    """Bytes of an eval of ``rows`` episodes of ``tokens`` ids: of the keys and values, and of the
    rest: logits, a layer's cache as it grows, and on a CPU the weights laid out for decoding."""
    slots = -(-(tokens + 1) // CHUNK) * CHUNK
    layer = 2 * rows * slots * shape.key * computing.width
    logits = rows * shape.vocabulary * (computing.width + _FLOAT)
    packed = 0
    if computing.own_kernels:
        frozen = 0 if load_4bit else shape.in_linears
        size = _FLOAT * (frozen + shape.vocabulary * shape.hidden)
        packed = size if size <= PACKED_BYTES else 0
    return shape.layers * layer, logits + layer // 2 + packed


# --- a step ---------------------------------------------------------------------------------------


def computed_step(
    shape: DecoderShape,
    recipe: Recipe,
    computing: Computing,
    *,
    load_4bit: bool = False,
    recompute: bool = False,
) -> StepMemory:
    """The memory of a step with an adapter of this recipe.

    Raises:
        BadInput: the recipe's targets are not layers of this base.
    """
    adapter = adapter_bytes(shape, recipe)
    layer = _layer(shape, recipe, computing)
    stream = computing.width * shape.hidden  # the residual stream, bytes per token
    if recompute:
        held, backward = float(shape.layers * stream), layer.held - layer.input + layer.working
    else:
        held, backward = shape.layers * layer.held - layer.first, layer.working
    unpacked = max(item.weights for item in shape.linears) if load_4bit else 0
    return StepMemory(
        # Gradients, two moments of the optimiser, and the last good weights.
        fixed=4.0 * adapter,
        per_token=held + layer.shared,
        per_squared_length=_attention_weights(shape, computing, recompute=recompute),
        per_trained=float(shape.vocabulary * _logit_bytes(computing) + 2 * stream),
        logits_at_once=2 * max(1, MAX_LOGITS // shape.vocabulary),
        packs=True,
        per_part=float(adapter),
        parts=computing.parts,
        backward_per_token=backward,
        backward_fixed=float(unpacked * computing.width),
    )


def _logit_bytes(computing: Computing) -> int:
    """Bytes of a logit: in float32, and before that in the base's type."""
    return _FLOAT if computing.width == _FLOAT else _FLOAT + computing.width


class _Layer(NamedTuple):
    """What decoder layers hold, in bytes per token.

    Attributes:
        held: by a layer from its forward to its backward pass.
        input: of that, what its first norm keeps; with recomputation, that is held for all layers.
        first: of that, what the first layer does not hold, since no gradient flows back beyond its
            first adapter.
        working: what the last layer needs besides while it computes, forward or back.
        shared: what is there once for all layers.
    """

    held: float
    input: float
    first: float
    working: float
    shared: float


def _layer(shape: DecoderShape, recipe: Recipe, computing: Computing) -> _Layer:
    adapted = {item.name: item for item in shape.adapted(recipe.targets)}
    own, width = computing.own_kernels, computing.width
    drops = recipe.dropout > 0
    # The norms compute in float32: they keep their input in that, and a number per token.
    norm = _FLOAT * shape.hidden + _FLOAT
    inputs = _own_inputs if own else _peft_inputs
    attention = _head_norms(shape) + _attention(shape, computing)
    # The gate, the gate after its activation, and what it is multiplied with.
    product = 3 * width * shape.intermediate
    held = (
        2 * norm
        + attention
        + product
        + inputs([*adapted.values()], computing, drops=drops)
        + _FLOAT * recipe.rank * len(adapted)
    )
    first = norm
    for names, then in ((_INTO_ATTENTION, attention), (("o_proj",), norm), (_INTO_MLP, product)):
        if adapted.keys() & set(names):
            break
        first += then
    # Cosines and sines; the last norm, or the gradient that comes out of it.
    shared = 2 * width * shape.head_dim + norm
    if own and drops:  # buffers that a thread keeps, see dropout.py
        shared += 2 * _FLOAT * max(item.inputs for item in adapted.values())
    working = (
        _own_working(shape, adapted)
        if own
        else _peft_working(shape, adapted, computing, drops=drops)
    )
    return _Layer(held, norm, first, working, shared)


def _own_inputs(adapted: Sequence[LinearShape], computing: Computing, *, drops: bool) -> int:
    """Inputs that sekft's layers keep: each tensor once, and a mask of a byte for each layer."""
    kept = {_reads(item.name): item.inputs for item in adapted}
    masks = sum(item.inputs for item in adapted) if drops else 0
    return computing.width * sum(kept.values()) + masks


def _peft_inputs(adapted: Sequence[LinearShape], computing: Computing, *, drops: bool) -> int:
    """Inputs that PEFT's layers keep: a float32 copy for each, after dropout, and its mask."""
    if computing.width == _FLOAT and not drops:
        return _own_inputs(adapted, computing, drops=False)
    return sum(item.inputs * (_FLOAT + _peft_mask(computing, drops=drops)) for item in adapted)


def _peft_mask(computing: Computing, *, drops: bool) -> int:
    """Bytes per number of torch's dropout mask: booleans on a GPU, floats on a CPU."""
    return 0 if not drops else _FLOAT if computing.device == "cpu" else 1


def _reads(name: str) -> str:
    """Which tensor a layer reads: layers that read the same keep it once."""
    if name in _INTO_ATTENTION:
        return "attention"
    return "mlp" if name in _INTO_MLP else name


def _head_norms(shape: DecoderShape) -> int:
    """What norms of queries and keys keep."""
    if not shape.norms_heads:
        return 0
    return _FLOAT * (shape.query + shape.key + shape.heads + shape.kv_heads)


def _attention(shape: DecoderShape, computing: Computing) -> int:
    """What attention keeps: queries, keys, values, its output, and a sum per head."""
    values = shape.key
    if shape.family == "phi3":  # values are a view of the product that has all three
        values = shape.query + 2 * shape.key
    width = 2 * shape.query + shape.key + values
    return computing.width * width + _FLOAT * shape.heads


def _attention_weights(shape: DecoderShape, computing: Computing, *, recompute: bool) -> float:
    """Bytes per square of a row's tokens. Torch's fused kernels keep no attention weights; but on
    CUDA, none of them computes float32 with grouped heads (see its scaled_dot_product_attention),
    and the plain formula keeps the weights, and makes their gradients and scores."""
    fused = computing.device == "cpu" or computing.width < _FLOAT or shape.heads == shape.kv_heads
    layers = 1 if recompute else shape.layers
    return 0.0 if fused else float(_FLOAT * shape.heads * (layers + 2))


def _own_working(shape: DecoderShape, adapted: Mapping[str, LinearShape]) -> float:
    """The gradients in the MLP of the last layer, when nothing else has been freed: of its product,
    and of both factors, less the product itself where the layer behind it has kept it."""
    return _FLOAT * shape.intermediate * (2.0 if "down_proj" in adapted else 3.0)


def _peft_working(
    shape: DecoderShape, adapted: Mapping[str, LinearShape], computing: Computing, *, drops: bool
) -> float:
    """What the last layer's MLP makes besides, forward or back, whichever is more."""
    width, hidden, inner = computing.width, shape.hidden, shape.intermediate
    copies = width < _FLOAT
    kept = inner * (_FLOAT + _peft_mask(computing, drops=drops)) if "down_proj" in adapted else 0
    # Forward: the product and its copy, three results of which two in float32, and what the
    # functions around still name: embeddings, the layer's input, its middle, the norm's output.
    down = width * inner + (width + 2 * _FLOAT) * hidden + 4 * width * hidden
    if "down_proj" in adapted and copies and drops:
        down += _FLOAT * inner
    # Back: two gradients in float32 and three in the base's type, less what has been freed.
    up = 2 * _FLOAT * inner + 3 * width * inner + 2 * width * hidden - kept - 2 * width * inner
    return float(max(down, up if {"up_proj", "gate_up_proj"} & adapted.keys() else 0))

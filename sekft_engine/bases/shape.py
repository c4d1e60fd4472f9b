"""The shape of a base: which matrices it has, read from its configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sekft_engine.bases.stored import quantisation_of, read_config, read_object
from sekft_engine.core.errors import BadInput

#: Families whose decoder layer is attention with rotary positions and a gated MLP, each after an
#: RMS norm, and whether their configurations tie the head to the embeddings unless they say so.
FAMILIES = {
    "llama": False,
    "mistral": False,
    "qwen2": False,
    "qwen3": False,
    "phi3": False,
    "smollm3": True,
}
#: Fields that say how many experts a layer has.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_MEASURED = "training measures the memory of any base that it can load before the first step"


class LinearShape(NamedTuple):
    """A linear layer of a decoder layer: its name, its sizes, and whether it has a bias."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """The number of elements of its matrix."""
        return self.inputs * self.outputs


class DecoderShape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a causal language model.

    Attributes:
        family: the ``model_type`` of its configuration.
        hidden: width of the residual stream.
        intermediate: width of the MLP.
        layers: number of decoder layers.
        heads, kv_heads: heads of attention, and of its keys and values.
        head_dim: width of a head.
        vocabulary: rows of the embedding.
        tied: whether the output head is the embedding.
        norms_heads: whether queries and keys are normalised per head (Qwen 3).
        linears: the linear layers of a decoder layer.
        longest: the most tokens that its positions reach; 0 = unknown.
    """

    family: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    norms_heads: bool
    linears: tuple[LinearShape, ...]
    longest: int = 0

    @property
    def query(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all keys, or of all values, of a token."""
        return self.kv_heads * self.head_dim

    @property
    def in_linears(self) -> int:
        """Weights in the matrices of all decoder layers: what 4 bits hold, and adapters reach."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def in_embeddings(self) -> int:
        """Weights of the embedding, and of the head where that is another matrix."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    @property
    def in_vectors(self) -> int:
        """Weights of norms and biases."""
        biases = sum(linear.outputs for linear in self.linears if linear.bias)
        per_layer = biases + 2 * self.hidden + (2 * self.head_dim if self.norms_heads else 0)
        return self.layers * per_layer + self.hidden

    @property
    def weights(self) -> int:
        """All weights of the base."""
        return self.in_linears + self.in_embeddings + self.in_vectors

    def adapted(self, targets: str) -> tuple[LinearShape, ...]:
        """The linear layers of a decoder layer that a recipe's ``targets`` mean.

        Raises:
            BadInput: a target is none of them.
        """
        wanted = {part.strip() for part in targets.split(",") if part.strip()}
        there = {linear.name for linear in self.linears}
        unknown = sorted(wanted - there - {"all-linear"})
        if unknown or not wanted:
            raise BadInput(
                f"this base has no linear layer called {', '.join(unknown) or '(nothing)'}",
                where="recipe.targets",
                mend=f"all-linear, or some of {', '.join(sorted(there))}",
            )
        return tuple(item for item in self.linears if wanted & {"all-linear", item.name})


def read_shape(path: Path) -> DecoderShape:
    """The shape of the base in folder ``path``, or whose ``config.json`` it is. Needs no torch.

    Raises:
        BadInput: there is no configuration, a field is missing or wrong, or the family is not one
            whose memory is known.
    """
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise BadInput("no config.json here", where=str(path), mend="name a base or a config.json")
    config = read_config(path) if path.is_dir() else read_object(file)
    return shape_of(config, str(file))


def shape_of(config: dict[str, Any], where: str) -> DecoderShape:
    """The shape that a configuration describes; ``where`` is named in errors."""
    if method := quantisation_of(config):
        raise BadInput(
            f"quantization_config: this base is quantised already ({method})",
            where=where,
            mend="take the model it was made from; --load-4bit holds that in 4 bits",
        )
    family = str(config.get("model_type") or "")
    for name in _EXPERTS:
        if isinstance(config.get(name), int) and config[name] > 1:
            raise BadInput(
                f"{name}: the memory of experts is not known in advance",
                where=where,
                mend=f"take a dense base; {_MEASURED}",
            )
    if family not in FAMILIES:
        raise BadInput(
            f"model_type: the memory of {family or '(none)'} is not known in advance",
            where=where,
            mend=f"known are {', '.join(FAMILIES)}; {_MEASURED}",
        )
    return _decoder(family, _Fields(config, where))


class _Fields:
    """The fields of a configuration, checked as they are read."""

    def __init__(self, config: dict[str, Any], where: str) -> None:
        self._config, self._where = config, where

    def number(self, name: str, otherwise: int = 0) -> int:
        """A whole number above zero.

        Args:
            otherwise: where it is absent; 0 = it must be there.
        """
        value = self._config.get(name)
        if value is None and otherwise:
            return otherwise
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            what = "is missing" if value is None else f"{value!r} is no whole number above 0"
            raise BadInput(
                f"{name} {what}",
                where=self._where,
                mend="take the config.json of the base itself, as its vendor wrote it",
            )
        return value

    def flag(self, name: str, *, otherwise: bool = False) -> bool:
        value = self._config.get(name)
        return otherwise if value is None else bool(value)


def _decoder(family: str, fields: _Fields) -> DecoderShape:
    hidden, heads = fields.number("hidden_size"), fields.number("num_attention_heads")
    # The default of these is a number of their own, which a configuration always states.
    own_default = family in ("mistral", "qwen2", "qwen3", "smollm3")
    kv_heads = fields.number("num_key_value_heads", 0 if own_default else heads)
    head_dim = fields.number("head_dim", 0 if family == "qwen3" else max(1, hidden // heads))
    intermediate = fields.number("intermediate_size")
    has_bias = fields.flag("attention_bias")
    mlp_bias = fields.flag("mlp_bias") and family in ("llama", "smollm3")
    query, key = heads * head_dim, kv_heads * head_dim
    linears: tuple[LinearShape, ...]
    if family == "phi3":
        linears = (
            LinearShape("qkv_proj", hidden, query + 2 * key),
            LinearShape("o_proj", query, hidden),
            LinearShape("gate_up_proj", hidden, 2 * intermediate),
            LinearShape("down_proj", intermediate, hidden),
        )
    else:
        into = has_bias if family in ("llama", "qwen3", "smollm3") else family == "qwen2"
        out = has_bias and family != "qwen2" and family != "mistral"
        linears = (
            LinearShape("q_proj", hidden, query, into),
            LinearShape("k_proj", hidden, key, into),
            LinearShape("v_proj", hidden, key, into),
            LinearShape("o_proj", query, hidden, out),
            LinearShape("gate_proj", hidden, intermediate, mlp_bias),
            LinearShape("up_proj", hidden, intermediate, mlp_bias),
            LinearShape("down_proj", intermediate, hidden, mlp_bias),
        )
    return DecoderShape(
        family=family,
        hidden=hidden,
        intermediate=intermediate,
        layers=fields.number("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=fields.number("vocab_size"),
        tied=fields.flag("tie_word_embeddings", otherwise=FAMILIES[family]),
        norms_heads=family == "qwen3",
        linears=linears,
        longest=fields.number("max_position_embeddings", 1 << 62) % (1 << 62),
    )

"""What a server holds: the base, its adapters as models, and the way to decode them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.data.dialect import Dialect
from sekft_engine.model.device import choose_device, device_of
from sekft_engine.model.imports import import_torch
from sekft_engine.model.kernels.mixed_lora import MixedLora
from sekft_engine.model.kernels.packed_linear import PackedLinears
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.caching import CachingDecoder
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.decoder import Acting, Decoder
from sekft_engine.operators.local import context_limit
from sekft_engine.operators.mixing import acting, prove_mixing
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.operators.subjects import other_precision
from sekft_engine.records.adapter_names import name_of_folder
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.precision import trained_in_4bit
from sekft_engine.records.runs import adapter_folder
from sekft_engine.render import ChatTokenizer
from sekft_engine.work.residence import Wanted, load_base

Warn = Callable[[str], None]


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be served.

    Attributes:
        folder: of the base.
        adapters: (name, folder) of each; an empty name = that of the folder.
        load_4bit: hold the base in 4 bits.
        device: where it computes; ``auto`` = on a card if there is one.
        rows: most answers that are made together; 0 = as many as suit the device.
        context: most ids of a prompt and its answer; 0 = as an eval has it.
    """

    folder: Path
    adapters: tuple[tuple[str, Path], ...] = ()
    load_4bit: bool = False
    device: str = "auto"
    rows: int = 0
    context: int = 0


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A name that requests may ask for.

    Attributes:
        name: the name.
        acting: the adapter that acts; of the base, none.
        digest: of the adapter's content, or of the base.
        meta: the content of the adapter's ``sekft.json``, if it has one.
        doubt: why it is not certain that the adapter is one of this base; empty = it is.
    """

    name: str
    acting: Acting = Acting()
    digest: str
    meta: AdapterMeta | None = None
    doubt: str = ""

    @property
    def is_base(self) -> bool:
        return self.acting.slot is None

    @property
    def dialect(self) -> dict[str, str] | None:
        """The prompt that it learnt to answer, with its digest; None = unknown."""
        learnt = self.meta.dialect if self.meta is not None else {}
        facts = {key: learnt[key] for key in ("name", "prompt") if key in learnt}
        if not facts:
            return None
        dialect = msgspec.convert(facts, Dialect)
        return {"name": dialect.name, "prompt": dialect.prompt, "digest": dialect.digest}


class Held:
    """A base with its models, loaded and proven.

    Args:
        base: the resident base.
        models: by name; the first is the base.
        limit: most ids of a prompt and its answer.
        rows: most answers that are made together.
        make: makes the decoder.
        kernels: a context in which all steps run.
        tokenizer: makes prompts and reads answers; None = the base's.
        why_single: why rows do not share steps; empty = they do.
    """

    def __init__(
        self,
        base: ResidentBase,
        models: dict[str, ServedModel],
        *,
        limit: int,
        rows: int,
        make: Callable[[], Decoder[Any]],
        kernels: AbstractContextManager[None],
        tokenizer: ChatTokenizer | None = None,
        why_single: str = "",
    ) -> None:
        self.base, self.models = base, models
        self.limit, self.rows = limit, rows
        self.make, self.kernels = make, kernels
        self.why_single = why_single
        self.tokenizer = tokenizer or base.tokenizer
        self.since = int(time.time())


def named_adapters(folder: Path, adapters: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """The names and folders of ``adapters``, each ``NAME=PATH`` or a path, for the base ``folder``.

    Raises:
        BadInput: a name is taken, or there is no adapter.
    """
    taken = {folder.name}
    found = []
    for spec in adapters:
        name, equals, path = spec.partition("=")
        if not equals or Path(spec).exists():  # a folder's path may have an equals sign, too
            name, path = "", spec
        if not path:
            raise BadInput(
                f"a path is missing after {visible(name)}=",
                where="--adapter",
                mend="give it as --adapter NAME=PATH",
            )
        there = adapter_folder(path)
        if not name:
            name = name_of_folder(there)
        if name in taken:
            raise BadInput(
                f"two models are called {name!r}",
                where="--adapter",
                mend="name one of them otherwise: --adapter NAME=PATH",
            )
        taken.add(name)
        found.append((name, there))
    return tuple(found)


def hold(holding: Holding, warn: Warn) -> Held:
    """Load the base, attach the adapters, and prove that each row gets its own.

    Raises:
        SekftError: the base or an adapter cannot be served.
    """
    import_torch()
    place = choose_device(holding.device)
    wanted = Wanted(holding.folder, holding.load_4bit, device=str(place))
    return hold_on(load_base(wanted, lambda _event: None), holding, warn)


def hold_on(
    base: ResidentBase,
    holding: Holding,
    warn: Warn,
    *,
    prefix: str = "",
    tokenizer: ChatTokenizer | None = None,
) -> Held:
    """Attach the adapters to a base that is loaded, and prove that each row gets its own.

    Args:
        base: also used by others, perhaps.
        holding: the adapters, and how they are served.
        warn: takes warnings.
        prefix: of the adapters' names on the base.
        tokenizer: for the server alone; None = the base's.

    Raises:
        SekftError: an adapter cannot be served.
    """
    stop_ids = sorted(base.tokenizer.end_of_turn_ids)
    limit = context_limit(base.model.config, holding.context).limit
    packed = PackedLinears(base.model)
    decoding = choose_decoding(base.model, stop_ids, context=limit, kernels=lambda: packed)
    if decoding.note:
        warn(decoding.note)
    models = {base.name: ServedModel(name=base.name, digest=base.digest)}
    for name, folder in holding.adapters:
        there = prefix + name
        base.attach(there, folder)
        prove_mixing(base, there, decoding.make, stop_ids, lambda: packed)
        for doubt in (base.doubt(there), other_precision(trained_in_4bit(folder), base)):
            if doubt:
                warn(f"{name}: {doubt}")
        models[name] = ServedModel(
            name=name,
            acting=acting(base, there),
            digest=base.adapters[there],
            meta=base.meta(there),
            doubt=base.doubt(there),
        )
    base.activate(None)
    base.prove()
    mixing = MixedLora(base.model)
    rows = holding.rows or device_of(base.device).rows
    batched = decoding.make is BatchedDecoder
    options: dict[str, Any] = {"stop_ids": stop_ids, "mixing": mixing, "isolate": True}

    def make() -> Decoder[Any]:
        if batched:
            return CachingDecoder(base.model, rows=rows, **options)
        return decoding.make(base.model, **options)

    return Held(
        base,
        models,
        limit=limit,
        rows=rows,
        make=make,
        kernels=_All(packed, mixing),
        tokenizer=tokenizer,
        why_single=decoding.why,
    )


class _All(AbstractContextManager[None]):
    """Several contexts as one, which may be entered again and again."""

    def __init__(self, *contexts: AbstractContextManager[None]) -> None:
        self._contexts = contexts

    def __enter__(self) -> None:
        with ExitStack() as stack:
            for each in self._contexts:
                stack.enter_context(each)
            self._entered = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._entered.close()

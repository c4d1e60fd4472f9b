"""Jobs in which models act: evals, sessions of one model, and serving."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.records.jobs.fields import Base, Device, Job, Load4bit, Out, Userland

#: Operators without a model: the reference solution, and three without any skill.
Control = Literal["oracle", "always-exit", "always-panic", "random"]


class Evaluate(Job, frozen=True, kw_only=True, tag="eval"):
    """Run episodes of the base (``with_base``) and of ``adapters`` on ``scenarios``.

    ``adapters`` are folders, or names of attached adapters. ``n`` scenarios are taken in
    an order that ``seed`` fixes, spread evenly over archetypes; 0 = all.

    ``seeds`` episodes are run in each world. ``until_decided`` stops as soon as the comparisons
    with the first subject are decided. ``exact`` gives the same bits in any company.

    With ``endpoints`` (addresses of OpenAI-compatible servers that all hold ``models``) nothing
    is loaded: the models there act, ``concurrency`` episodes at once. Unless ``unchecked``, the
    eval is refused where a server does not feed its model what training on ``base`` fed.

    ``controls`` act in the same worlds; an eval of these alone needs no base.

    ``context``: most ids in an episode; 0 = as many as the base holds, up to 4096.
    """

    base: Base = ""
    adapters: Annotated[
        tuple[str, ...],
        Meta(description="An adapter's folder, or its run's folder; may be given more than once."),
    ] = ()
    with_base: bool = True
    controls: Annotated[
        tuple[Control, ...],
        Meta(
            description="Let an operator without a model act in the same worlds, to compare with; "
            "may be given more than once."
        ),
    ] = ()
    scenarios: Annotated[
        str, Meta(description="Folder of scenario bundles [default: the held-out ones].")
    ]
    n: Annotated[int, Meta(ge=0, description="How many scenarios; 0 = all.")] = 16
    out: Out = ""
    sandbox: Annotated[str, Meta(description="The sandbox that runs the worlds.")] = "auto"
    userland: Userland = "auto"
    seed: Annotated[int, Meta(description="Fixes the choice of scenarios and all sampling.")] = 0
    seeds: Annotated[
        int,
        Meta(
            ge=1,
            description="Episodes per world and model, sampled separately (needs a temperature).",
        ),
    ] = 1
    until_decided: Annotated[
        bool,
        Meta(description="Stop once the comparison with the first model is decided (5 % error)."),
    ] = False
    exact: Annotated[
        bool,
        Meta(description="Run one episode at a time: slower, but the same bits in any company."),
    ] = False
    temperature: Annotated[float, Meta(ge=0, description="Sampling temperature; 0 = greedy.")] = 0.0
    step_cap: Annotated[int, Meta(ge=1, description="Most commands in one episode.")] = 24
    turn_tokens: Annotated[int, Meta(ge=1, description="Most tokens in one command.")] = 64
    load_4bit: Load4bit = None
    device: Device = "auto"
    resume: Annotated[
        bool,
        Meta(
            description="Resume the eval in --out [default: the workspace's newest unfinished one "
            "that agrees with the options]; options that are not given come from it."
        ),
    ] = False
    endpoints: Annotated[
        tuple[str, ...],
        Meta(description="Evaluate models of an OpenAI-compatible server; several make a fleet."),
    ] = ()
    models: Annotated[
        tuple[str, ...], Meta(description="With --endpoint: a model of the servers.")
    ] = ()
    api_key_env: str | None = None
    concurrency: Annotated[int, Meta(ge=1, description="With --endpoint: episodes at once.")] = 16
    timeout: Annotated[float, Meta(gt=0, description="Seconds a server has for each answer.")] = (
        120.0
    )
    unchecked: Annotated[
        bool,
        Meta(description="Accept servers that do not feed their model what training fed."),
    ] = False
    context: Annotated[
        int,
        Meta(
            ge=0,
            description="Most tokens in one episode [default: the base's context, up to 4096].",
        ),
    ] = 0


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A take-over in another process, as far as a model needs to know it: its scenario, the prompt
    of its world, and how its commands are chosen."""

    scenario: str = ""
    dialect: Dialect = DEFAULT_DIALECT
    temperature: Annotated[float, Meta(ge=0)] = 0.0
    turn_tokens: Annotated[int, Meta(ge=1)] = 64


class HandBack(Job, frozen=True, kw_only=True, tag="hand_back"):
    """Let a model type in the take-over of that id, which lives in the engine's process; with
    ``session``, in another one, which tells the job the turns and is told the commands.

    ``adapter`` is an adapter's folder, or the name of an attached one; empty = the bare base.
    ``turns`` = so many; 0 = until the session ends. Whether it is sampled or greedy, and how many
    tokens a command may have, is as in the eval that the session comes from; ``seed``
    distinguishes repeated attempts.

    With ``endpoint`` (the address of an OpenAI-compatible server) its ``model`` types, and nothing
    is loaded; ``base`` is then the one that was trained, which the server's prompts are compared
    with unless ``unchecked``.
    """

    takeover: str
    base: str
    adapter: str = ""
    turns: int = 0
    seed: int = 0
    load_4bit: Load4bit = None
    device: Device = "auto"
    endpoint: str = ""
    model: str = ""
    api_key_env: str | None = None
    unchecked: bool = False
    session: SessionFacts | None = None


class Serve(Job, frozen=True, kw_only=True, tag="serve"):
    """Serve the resident base and ``adapters`` (each ``NAME=PATH``, or a path) over HTTP, until
    :class:`Unserve`. The job ends once the address answers; the engine goes on to do other jobs.

    Where ``with_key``, requests must show a key, which the job is told as a message: it is written
    into no journal. ``allowed`` are more names that the server may be called by.
    """

    base: str = ""
    adapters: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    with_key: bool = False
    allowed: tuple[str, ...] = ()
    load_4bit: Load4bit = None
    device: Device = "auto"
    rows: Annotated[int, Meta(ge=0)] = 0
    context: Annotated[int, Meta(ge=0)] = 0
    queue: Annotated[int, Meta(ge=0)] = 64
    body: Annotated[int, Meta(ge=1)] = 4 << 20
    drain: Annotated[float, Meta(ge=1)] = 60.0


class Unserve(Job, frozen=True, kw_only=True, tag="unserve"):
    """Close the server: answers that are under way may end. Answered at once."""

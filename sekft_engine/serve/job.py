"""The job that opens a server on the resident base."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import msgspec

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events
from sekft_engine.records.jobs import Serve
from sekft_engine.records.results import ServeResult
from sekft_engine.render import ChatTokenizer
from sekft_engine.serve.loading import Holding, hold_on, named_adapters
from sekft_engine.work.context import Context, Stopped
from sekft_engine.work.guest import SERVED

#: How long the key may take to come, in seconds.
_KEY_S = 20.0


class Key(msgspec.Struct, frozen=True):
    """The message to the job with the key that requests must show."""

    key: str


def run_serve(job: Serve, context: Context) -> ServeResult:
    """Attach the adapters, open the address, and leave the server on the base.

    Raises:
        Unavailable: the packages for it are missing, or another program listens there.
        SekftError: an adapter cannot be served.
    """
    try:
        from sekft_engine.serve.hosted import Hosted, HostedScheduler
        from sekft_engine.serve.server import HttpServer, Limits
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the Python package {error.name} is missing", mend="pip install 'sekft-tui[serve]'"
        ) from error
    if context.guest is not None:
        raise Unavailable(
            "this engine serves already", where=context.guest.address, mend="sekft serve --stop"
        )
    key = _key(job, context)
    adapters = named_adapters(context.find_base(job.base), job.adapters)
    base = context.load_base(
        job.base, context.four_bits(job.base, job.load_4bit), device=job.device
    )
    holding = Holding(folder=base.path, adapters=adapters, rows=job.rows, context=job.context)
    active = base.active
    with _undone_on_failure(base):
        held = hold_on(
            base,
            holding,
            lambda text: context.log(text, "warning"),
            prefix=SERVED,
            tokenizer=ChatTokenizer.load(base.path),
        )
        scheduler = HostedScheduler(held, queue=job.queue, on_work=context.wake)
        server = HttpServer(
            lambda: held,
            host=job.host,
            port=job.port,
            key=key,
            allowed=job.allowed,
            limits=Limits(queue=job.queue, body=job.body, drain=job.drain),
            scheduler=scheduler,
        )
    base.activate(active)
    hosted = Hosted(server, scheduler, context.wake)
    context.host(hosted)
    hosted.start()
    models = list(held.models)
    context.emit(events.ServerChanged(job="", url=hosted.address, models=models))
    return ServeResult(url=hosted.address, models=models)


def _key(job: Serve, context: Context) -> str:
    if not job.with_key:
        return ""
    until = time.monotonic() + _KEY_S
    while time.monotonic() < until and not context.cancelled():
        if (message := context.receive(1.0)) is not None:
            with contextlib.suppress(msgspec.DecodeError):
                return msgspec.json.decode(message, type=Key).key
            raise BadInput("not a message with a key")
    if context.cancelled():
        raise Stopped("the server was not opened")
    raise BadInput("the server's key did not come")


@contextlib.contextmanager
def _undone_on_failure(base: ResidentBase) -> Iterator[None]:
    """Let the base have the adapters that it had, where what is done in the context fails."""
    active = base.active
    try:
        yield
    except BaseException:
        for name in [name for name in base.adapters if name.startswith(SERVED)]:
            base.drop(name)
        base.activate(active if active in base.adapters else None)
        raise

"""``sekft resident``: keep a base loaded; jobs in, events out, on stdin and on a socket."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from sekft_engine.cli.options import (
    device_option,
    find_workspace,
    json_option,
    workspace_option,
)
from sekft_engine.cli.show.document import print_json
from sekft_engine.cli.show.systemd_unit import systemd_unit
from sekft_engine.core.errors import BadInput, SekftError, Unavailable, known_error
from sekft_engine.core.text import visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.silence import silence
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.socket.address import (
    Claim,
    is_locked,
    known_addresses,
    read_pointer,
    workspace_key,
)
from sekft_engine.engine.socket.client import Client, wait_until_gone
from sekft_engine.engine.socket.detach import resident_arguments, start_detached, tell_ready
from sekft_engine.engine.socket.protocol import EngineStatus
from sekft_engine.engine.socket.resident import serve, serve_without_socket
from sekft_engine.records import jobs
from sekft_engine.records.jobs.paths import absolute

#: ``stop`` says what it waits for after so many seconds.
_QUIET_S = 2.0


@click.group("resident", invoke_without_command=True)
@click.option("--base", default="", help="Load this base at the start.")
@click.option(
    "--load-4bit/--no-load-4bit", default=None, help="Hold it in 4 bits (NF4, double quant)."
)
@device_option
@click.option(
    "--detach",
    is_flag=True,
    help="Start it in the background, print one JSON line once its socket answers, and return.",
)
@click.option(
    "--socket-only",
    is_flag=True,
    help="Take jobs from the socket only, and stay until sekft resident stop or SIGTERM.",
)
@click.option("--print-unit", is_flag=True, help="Print a systemd user unit, and start nothing.")
@workspace_option
@click.pass_context
def command(
    context: click.Context,
    base: str,
    load_4bit: bool | None,
    device: str,
    detach: bool,
    socket_only: bool,
    print_unit: bool,
    workspace: Path | None,
) -> int:
    """Keep a base loaded and take jobs: one JSON object per line on stdin, events on stdout.

    \b
    {"job":"train","data":"...","out":"..."}
    {"job":"eval","scenarios":"...","adapters":["..."],"out":"..."}
    {"job":"attach","path":"..."}   {"job":"swap","name":"..."}   {"job":"drop","name":"..."}
    {"job":"status"}                {"job":"cancel","after_step":true}
    {"job":"load","base":"...","load_4bit":true}

    Jobs act on the base that is loaded, as it is loaded. One that names another "base",
    "load_4bit" or "device" is refused; only "load" replaces the base. Without --base, the first job
    that names a base loads it.

    At the end of stdin it finishes all jobs and exits; SIGTERM saves the running job and exits.

    In a workspace it listens on a Unix socket as well (docs/protocol.md), where other programs give
    jobs and watch. A workspace has one such engine.
    """
    context.obj = workspace
    if context.invoked_subcommand is not None:
        return 0
    first = _first(base, load_4bit, device)
    if print_unit or detach:
        place = _place(workspace)
        options = _options(first)
        if print_unit:
            name = f"sekft-{workspace_key(place)[:8]}"
            arguments = resident_arguments(place, options)
            click.echo(systemd_unit(name, place.root, arguments), nl=False)
            return 0
        return _detach(place, options)
    return _serve(workspace, first, socket_only=socket_only)


socket_option = click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    default=None,
    help="The engine behind this socket, such as one that ssh -L made, not the workspace's.",
)


@command.command("status")
@json_option
@workspace_option
@socket_option
@click.pass_context
def status(context: click.Context, as_json: bool, workspace: Path | None, path: Path | None) -> int:
    """Say what the workspace's engine holds, does, and has yet to do.

    The status is 1 where there is no engine, and where its process is stopped or hangs.
    """
    place = _place(workspace or context.obj) if path is None else None
    if place is not None and not is_locked(place):
        if as_json:
            print_json({"alive": False, "workspace": str(place.root)})
        else:
            click.echo(f"{place.root}: no engine is at work here")
        return 1
    with Where(place or Workspace("."), path).connect() as client:
        found = client.call("status")
        said = client.greeting
    now = msgspec.convert(found, EngineStatus)
    stuck = silence(now, said.pid, away=path is not None)
    if as_json:
        root = said.workspace if place is None else str(place.root)
        about = {"alive": True, "workspace": root, "pid": said.pid}
        print_json(about | {"engine": said.engine} | found)
        return 0 if stuck is None else 1
    for line in _described(now):
        click.echo(visible(line))
    where = f", in {said.workspace}" if path is not None else ""
    click.echo(visible(f"pid {said.pid}, {said.engine}{where}"))
    if stuck is not None:
        click.echo(f"sekft: error: {visible(str(stuck))}", err=True)
    return 0 if stuck is None else 1


@command.command("stop")
@click.option(
    "--after",
    type=click.Choice(["step", "queue"]),
    default="step",
    show_default=True,
    help="Let the running step end and be saved, or finish all jobs first.",
)
@click.option(
    "--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait for its end."
)
@workspace_option
@socket_option
@click.pass_context
def stop(
    context: click.Context,
    after: str,
    timeout: float,
    workspace: Path | None,
    path: Path | None,
) -> int:
    """End the workspace's engine, and wait until it has ended.

    With --socket it is asked to end, and not waited for.
    """
    place = _place(workspace or context.obj) if path is None else None
    with Where(place or Workspace("."), path).connect() as client:
        pid = client.greeting.pid
        now = msgspec.convert(client.call("status"), EngineStatus)
        if (stuck := silence(now, pid, away=path is not None)) is not None:
            raise stuck
        with contextlib.suppress(Unavailable):  # it may end before it answers
            client.call("shutdown", after=after)
        there = client.greeting.workspace
    if place is None:
        click.echo(visible(f"{there}: the engine was asked to end (pid {pid})"))
        return 0
    gone = wait_until_gone(place, min(_QUIET_S, timeout))
    if not gone:
        what = "all jobs" if after == "queue" else "the running step"
        click.echo(f"sekft: info: waiting: the engine (pid {pid}) finishes {what}", err=True)
    if not gone and not wait_until_gone(place, timeout - _QUIET_S):
        raise Unavailable(
            "the engine has not ended yet",
            where=f"pid {pid}",
            mend="sekft resident status shows what it does",
        )
    click.echo(f"{place.root}: the engine has ended (pid {pid})")
    return 0


@command.command("list")
@json_option
def list_(as_json: bool) -> int:
    """List this user's engines."""
    alive = []
    for address in known_addresses():
        place = Workspace(address.workspace)
        found = read_pointer(place)
        if found is not None and found.mark == address.mark and is_locked(place):
            alive.append(address)
    if as_json:
        engines = [
            {"workspace": one.workspace, "pid": one.pid, "socket": one.socket}
            | {"viewer_socket": one.viewer_socket, "started": one.started}
            for one in alive
        ]
        print_json({"engines": engines})
        return 0
    if not alive:
        click.echo("no engine is at work; sekft resident --detach starts one in a workspace")
    for address in alive:
        try:
            with Client(address.socket) as client:
                now = msgspec.convert(client.call("status"), EngineStatus)
        except SekftError:
            click.echo(visible(f"{address.pid:<8} {'silent':<8} {address.workspace}"))
            continue
        doing = f"{now.running.kind} {now.running.label}" if now.running is not None else ""
        state = "stopped" if now.stopped else "silent" if now.silent else now.state
        click.echo(visible(f"{address.pid:<8} {state:<8} {address.workspace}  {doing}".rstrip()))
    return 0


def _serve(workspace: Path | None, first: jobs.Job | None, *, socket_only: bool) -> int:
    place = find_workspace(workspace)
    claim = _claim(place, needed=socket_only)
    if claim is not None and socket_only:
        log = "" if sys.stderr.isatty() else _log_path()
        return serve(claim, source=None, write=None, first=first, bound=tell_ready, log=log)
    # Only events may stand on stdout, whatever a library prints.
    stream = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def write(line: bytes) -> None:
        while line:
            line = line[os.write(stream, line) :]

    source = sys.stdin.fileno()
    try:
        if claim is None:
            return serve_without_socket(place, source=source, write=write, first=first)
        return serve(claim, source=source, write=write, first=first)
    finally:
        os.close(stream)


def _claim(place: Workspace | None, *, needed: bool) -> Claim | None:
    """The right to be the workspace's engine. None = jobs come as lines only: there is no
    workspace, or it cannot be written.

    Raises:
        Unavailable: another engine is at work there.
    """
    if place is None or not place.root.is_dir():
        if needed:
            _place(place.root if place is not None else None)
        return None
    try:
        return Claim(place)
    except OSError as error:
        known = known_error(error)
        if needed:
            raise known from error
        click.echo(f"sekft: warning: no socket: {visible(str(known))}", err=True)
        return None


def _detach(place: Workspace, options: Sequence[str]) -> int:
    claim = _claim(place, needed=True)  # refused here where another engine is at work
    if claim is not None:
        claim.release()
    address = start_detached(place, options)
    document = {
        "pid": address.pid,
        "workspace": address.workspace,
        "socket": address.socket,
        "viewer_socket": address.viewer_socket,
        "log": address.log,
        "protocol": address.protocol,
    }
    click.echo(msgspec.json.encode(document).decode())
    return 0


def _first(base: str, load_4bit: bool | None, device: str) -> jobs.Load | None:
    """The job that loads ``base``, also where another folder is the current one."""
    load = absolute(jobs.Load(base=base, load_4bit=load_4bit, device=device))
    return load if base and isinstance(load, jobs.Load) else None


def _options(first: jobs.Load | None) -> list[str]:
    if first is None:
        return []
    options = ["--base", first.base, "--device", first.device]
    if first.load_4bit is not None:
        options.append("--load-4bit" if first.load_4bit else "--no-load-4bit")
    return options


def _described(now: EngineStatus) -> list[str]:
    held = now.resident
    active = f", adapter {held.active}" if held is not None and held.active else ""
    base = "no base is loaded" if held is None else f"{held.base} ({held.dtype}){active}"
    lines = [f"{now.state}: {base}"]
    if held is not None and held.server:
        lines.append(f"serves at {held.server}")
    if now.running is not None:
        job = now.running
        far = f" of {job.total}" if job.total else ""
        far = f" {job.done}{far}" if job.done or job.total else ""
        far = f", {job.doing}{far}" if job.doing else ""
        far += f" ({job.detail})" if job.detail else ""
        seconds = max(0, round(time.time() - job.since))
        lines.append(f"{job.id}: {job.label or job.kind}{far}, for {seconds} s")
    waiting = ((one, "held" if one.held else "waits") for one in now.queued)
    return [*lines, *(f"{one.id}: {one.label or one.kind}, {how}" for one, how in waiting)]


def _log_path() -> str:
    """The file that messages go to, where the system says."""
    try:
        return str(Path("/proc/self/fd/2").readlink())
    except OSError:
        return ""


def _place(workspace: Path | None) -> Workspace:
    place = find_workspace(workspace)
    if place is None:
        raise BadInput("no workspace here", where=str(Path.cwd()), mend="name it with --workspace")
    if not place.root.is_dir():
        raise BadInput("no such folder", where=str(place.root), mend="name it with --workspace")
    return place

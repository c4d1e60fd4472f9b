"""A systemd user unit that keeps an engine running."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_UNIT = """\
# ~/.config/systemd/user/{name}.service
# systemctl --user daemon-reload && systemctl --user enable --now {name}
# loginctl enable-linger lets it run while you are not logged in.
[Unit]
Description=sekft engine for {workspace}

[Service]
Type=exec
ExecStart={command}
WorkingDirectory={folder}
# SIGTERM lets the running step end and saves it; sandboxes end with the engine.
KillMode=mixed
TimeoutStopSec=15min
SuccessExitStatus=130
Restart=on-failure
RestartSec=10
UMask=0077

[Install]
WantedBy=default.target
"""


def systemd_unit(name: str, workspace: Path, command: Sequence[str]) -> str:
    """The text of a user unit.

    Args:
        name: the unit's, without ``.service``.
        workspace: where the engine is at work.
        command: the command line, each word as it is.
    """
    return _UNIT.format(
        name=name,
        workspace=_specifiers(str(workspace)),
        command=" ".join(map(_quoted, command)),
        folder=_specifiers(str(workspace)),
    )


def _specifiers(text: str) -> str:
    """``text`` where systemd replaces ``%`` and nothing else."""
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(word: str) -> str:
    """One word of a command line, as systemd.service(5) has it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + _specifiers(escaped).replace("$", "$$") + '"'

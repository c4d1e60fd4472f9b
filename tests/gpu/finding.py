"""What a check on the GPU found."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["passed", "failed", "skipped"]


class Finding(msgspec.Struct, kw_only=True):
    """The outcome of one check.

    Attributes:
        name: of the check.
        title: what it shows, in a line.
        state: ``skipped`` where this machine cannot try it; ``why`` says what is missing.
        figures: what was measured, by names that say their units.
        seconds: how long it took.
        why: of a failure or a skip, in a line.
    """

    name: str
    title: str = ""
    state: State = "passed"
    figures: dict[str, Any] = {}
    seconds: float = 0.0
    why: str = ""


class Report(msgspec.Struct, kw_only=True):
    """All findings of a machine.

    Attributes:
        machine: the device and the versions that computed.
        tiny: whether toys stood in for real bases: such figures say nothing.
    """

    machine: dict[str, Any]
    tiny: bool
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        return any(finding.state == "failed" for finding in self.findings)


class Skip(Exception):
    """Raised by a check that cannot be tried here; its text says what is missing."""


def table(report: Report) -> str:
    """The findings as a Markdown table, for the README."""
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items() if value)
    lines = [
        f"Measured by `make gpu`: {machine}." + (TOYS if report.tiny else ""),
        "",
        "| check | outcome | figures |",
        "|---|---|---|",
    ]
    for finding in report.findings:
        figures = "; ".join(
            f"{_plain(name)} {_shown(value)}" for name, value in finding.figures.items()
        )
        about = f"{figures or '-'}" + (f" ({_cell(finding.why)})" if finding.why else "")
        lines.append(f"| {_cell(finding.title or finding.name)} | {finding.state} | {about} |")
    return "\n".join(lines) + "\n"


TOYS = " **Toys stood in for real bases: the figures say nothing.**"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_plain(str(name))} {_shown(item)}" for name, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]

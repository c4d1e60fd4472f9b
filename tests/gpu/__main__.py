"""Run all checks that need a GPU, one process each, and write what they found.

    python -m tests.gpu                      all checks on the card; gpu.json and gpu.md
    python -m tests.gpu --only plan parity   some of them
    python -m tests.gpu --device cpu --tiny  the runner itself, on toys: its figures say nothing

Without a card that torch can use it says so in a line and ends with status 2.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.gpu.finding import Finding, Report, table

ROOT = Path(__file__).parents[2]
#: The status of a check that cannot be tried, and of the runner without a card.
SKIPPED, NO_CARD = 77, 2
#: Seconds that a check may take.
PATIENCE_S = 3600.0


def options_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    from tests.gpu.checks import CHECKS, PARTS

    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toys in place of real bases")
    parser.add_argument("--base", default="smollm2-135m", help="the small base")
    parser.add_argument("--only", nargs="*", choices=tuple(CHECKS), default=tuple(CHECKS))
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="gpu.json and gpu.md go here")
    parser.add_argument("--check", choices=(*CHECKS, *PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--place", default="", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = options_of(words)
    if options.check:
        return _check(options)
    if options.device == "cuda" and (why := _no_card()):
        print(f"no GPU check can run: {why} (sekft doctor says more)", file=sys.stderr)
        return NO_CARD
    with tempfile.TemporaryDirectory() as place:
        options.place = place
        report = Report(machine=_machine(options.device), tiny=options.tiny, findings=[])
        for name in options.only:
            report.findings.append(_run(name, options))
            _write(report, options.out)
    print(f"{options.out}/gpu.json, {options.out}/gpu.md")
    return 1 if report.failed else 0


def _no_card() -> str:
    """Why there is no card that torch can use; empty = there is one."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if torch.cuda.is_available():
        return ""
    build = torch.version.cuda or torch.version.hip
    return "torch sees no card" if build else "torch is a CPU build"


def _run(name: str, options: argparse.Namespace) -> Finding:
    """Run a check in a process of its own."""
    from tests.gpu.checks import CHECKS

    words = ["--check", name, "--device", options.device, "--base", options.base]
    words += ["--place", options.place, *(["--tiny"] if options.tiny else [])]
    title = (CHECKS[name].__doc__ or name).strip().splitlines()[0]
    print(f"{name}: {title} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    finding = Finding(name=name, title=title)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.gpu", *words],
            cwd=ROOT, env=_environment(options.device), capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        _note(finding, done)
    except subprocess.TimeoutExpired:
        finding.state, finding.why = "failed", f"it took over {PATIENCE_S:.0f} seconds"
    finding.seconds = round(time.monotonic() - began, 1)
    why = f": {finding.why}" if finding.why else ""
    print(f"  {finding.state} in {finding.seconds:.0f} s{why}", file=sys.stderr, flush=True)
    return finding


def _environment(device: str) -> dict[str, str]:
    """That of a check: on the CPU, a card that is there is hidden."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return dict(os.environ) | hidden


def _note(finding: Finding, done: subprocess.CompletedProcess[str]) -> None:
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == SKIPPED:
        finding.state, finding.why = "skipped", last
    elif done.returncode:
        finding.state, finding.why = "failed", last or f"it ended with status {done.returncode}"
        sys.stderr.write(done.stderr)
    else:
        finding.figures = json.loads(done.stdout.strip().splitlines()[-1])


def _check(options: argparse.Namespace) -> int:
    """Be the process of one check: its figures are the last line of the output."""
    from tests.gpu.bases import Setting
    from tests.gpu.checks import CHECKS, PARTS
    from tests.gpu.finding import Skip

    try:
        figures = {**CHECKS, **PARTS}[options.check](Setting.of(options))
    except Skip as skip:
        print(skip, file=sys.stderr)
        return SKIPPED
    print(json.dumps(figures))
    return 0


def _machine(device: str) -> dict[str, Any]:
    import torch
    import transformers

    facts: dict[str, Any] = {
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "card": properties.name,
            "GiB": round(properties.total_memory / 2**30, 1),
            "cards": torch.cuda.device_count(),
            "CUDA": torch.version.cuda or "",
            "ROCm": torch.version.hip or "",
        }
        from sekft_engine.core.gpu import ask_driver

        driver = ask_driver()
        facts["driver"] = driver.version if driver is not None else ""
    else:
        facts["device"] = "CPU"
    return facts


def _write(report: Report, folder: Path) -> None:
    """Write what is known so far: a check that hangs loses nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (folder / "gpu.json").write_bytes(encoded + b"\n")
    (folder / "gpu.md").write_text(table(report), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""A command in a process of its own that must not load a model's libraries or the screens."""

from __future__ import annotations

import subprocess
import sys

_CODE = (
    "import sys\n"
    "from sekft_engine.cli.main import run\n"
    "status = run(sys.argv[1:])\n"
    "heavy = {'torch', 'transformers', 'peft', 'bitsandbytes', 'textual'} & set(sys.modules)\n"
    "sys.exit(f'imported {heavy}' if heavy else status)\n"
)


def run_light(*words: object) -> subprocess.CompletedProcess[str]:
    """Run ``sekft WORDS``; it fails, saying which, where it loaded what it should not."""
    line = [sys.executable, "-c", _CODE, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)

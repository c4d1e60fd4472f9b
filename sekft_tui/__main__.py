"""``python -m sekft_tui`` is ``sekft tui``."""

from __future__ import annotations

import sys

from sekft_engine.cli.main import run
from sekft_engine.core.process import leave

if __name__ == "__main__":
    words = sys.argv[1:]
    leave(run(words if words == ["--version"] else ["tui", *words]))

"""``python -m sekft_tui`` is ``sekft tui``."""

from __future__ import annotations

import sys

from sekft_engine.cli.main import run
from sekft_engine.core.process import leave

if __name__ == "__main__":
    leave(run(["tui", *sys.argv[1:]]))

"""``python -m sekft_engine`` is ``sekft``."""

from __future__ import annotations

from sekft_engine.cli.main import main

if __name__ == "__main__":
    main()

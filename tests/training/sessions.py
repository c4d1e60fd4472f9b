"""Small recorded sessions to train on."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = ["alpha", "beta", "gamma", "delta", "omega", "reef", "stone", "river", "cloud", "maple"]
PROMPT = "user@box:~$"


def session(number: int, seed: int = 0) -> dict[str, object]:
    """One kept trajectory; lengths differ from one to the next."""
    rng = random.Random(f"{seed}/{number}")
    provider = rng.choice(WORDS) + rng.choice(WORDS)
    name = rng.choice(WORDS) + ".txt"
    lines = [" ".join(rng.choice(WORDS) for _ in range(3)) for _ in range(rng.randint(1, 6))]
    turns = [
        ("user", f"Directives are held by {provider}.\n{PROMPT}"),
        ("assistant", f"{provider} --help"),
        ("user", "\n".join([f"usage: {provider} get", *lines, PROMPT])),
        ("assistant", f"wc -l < {name} > out"),
        ("user", PROMPT),
        ("assistant", "exit"),
    ]
    return {
        "id": f"session-{number:03d}",
        "archetype": rng.choice(("count", "copy")),
        "turns": [{"role": role, "content": content} for role, content in turns],
        "outcome": "exit",
        "verified": True,
        "keep": True,
        "meta": {"clean": True},
    }


def write_sessions(folder: Path, count: int, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"session-{number:03d}.json"
        path.write_text(json.dumps(session(number, seed)), encoding="utf-8")
    return folder

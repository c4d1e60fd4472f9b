"""What was learnt of the servers of an eval: what was really sent, and what they answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sekft_engine.contract.chat import Chat
from sekft_engine.contract.fields import NEUTRAL, PENALTIES, Sent

#: Names of one sampler.
_SAME = dict.fromkeys(
    ("repetition_penalty", "repeat_penalty"), ("repetition_penalty", "repeat_penalty")
)


def served_facts(chats: Iterable[Chat], temperature: float) -> list[dict[str, Any]]:
    """One entry for each server and model that was asked.

    ``sent`` are the fields beside model, messages and seed; ``refused`` those that were left out,
    with the server's words; ``answers`` counts them by the rows of the table of answers;
    ``open`` are the left out ones at which a sampling default of the server may change scores.
    """
    out = []
    for chat in chats:
        rows, sent = chat.rows, chat.sent
        if not rows:
            continue
        # Whatever is cut off a distribution, its greatest share stays.
        matter = PENALTIES if temperature == 0 else tuple(NEUTRAL)
        out.append(
            {
                "endpoint": chat.client.endpoint,
                "model": chat.model,
                "sent": {name: value for name, value in sent.fields.items() if name != "seed"},
                "seeded": "seed" in sent.fields,
                "refused": dict(sent.refused),
                "open": [name for name in matter if _is_open(name, sent)],
                "answers": rows,
            }
        )
    return out


def _is_open(name: str, sent: Sent) -> bool:
    """Whether a sampler is left to the server: one that goes by two names only without both."""
    names = _SAME.get(name, (name,))
    return name == names[0] and all(one in sent.refused for one in names)

"""The facts about the servers of an eval: the fields that were sent, and how they answered."""

from __future__ import annotations

from collections.abc import Iterable

from sekft_engine.contract.chat import Chat
from sekft_engine.contract.fields import NEUTRAL, PENALTIES, SentFields
from sekft_engine.records.evals import ServedFacts

#: Names of one sampler.
_SAME = dict.fromkeys(
    ("repetition_penalty", "repeat_penalty"), ("repetition_penalty", "repeat_penalty")
)


def served_facts(chats: Iterable[Chat], temperature: float) -> list[ServedFacts]:
    """One entry for each server and model that was asked."""
    out = []
    for chat in chats:
        rows, sent = chat.rows, chat.sent
        if not rows:
            continue
        # Greedy decoding: cutting a distribution's tail leaves its maximum.
        matter = PENALTIES if temperature == 0 else tuple(NEUTRAL)
        out.append(
            ServedFacts(
                endpoint=chat.client.endpoint,
                model=chat.model,
                sent={name: value for name, value in sent.fields.items() if name != "seed"},
                seeded="seed" in sent.fields,
                refused=dict(sent.refused),
                open=[name for name in matter if _is_open(name, sent)],
                answers=rows,
            )
        )
    return out


def _is_open(name: str, sent: SentFields) -> bool:
    """Whether a sampler is left to the server: under each of its names."""
    names = _SAME.get(name, (name,))
    return name == names[0] and all(each in sent.refused for each in names)

"""Write the tables of ``docs/bases.md`` from what the tests of this folder show.

Run with ``python -m tests.families.page``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.families.models import FAMILIES, class_of
from tests.families.refused import REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "bases.md"


def tables() -> dict[str, str]:
    """The tables by name."""
    families = (
        (
            family.title,
            f"`{class_of(name)}`",
            "packed" if family.packs else "padded",
            family.rows,
            "but for the experts" if family.experts else "yes",
            "stay as they are" if family.experts else "",
        )
        for name, family in FAMILIES.items()
    )
    refused = ((title, refusal.what, refusal.way_out) for title, refusal in REFUSED.items())
    return {
        "families": _table(
            ("family", "class", "rows in training", "episodes", "4 bits", "experts"), families
        ),
        "refused": _table(("base", "the refusal says", "and the way out"), refused),
    }


def written(text: str) -> str:
    """The page with its tables as they are now."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + table + "\n" + end + rest.partition(end)[2]
    return text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

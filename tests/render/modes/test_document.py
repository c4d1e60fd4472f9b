"""docs/failure-modes.md lists all 22 modes, and each test that it links exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.render.conftest import MakeBase
from tests.render.modes.test_what_is_trained import COMMANDS
from tests.render.sessions import PLAIN
from tests.render.test_equals_transformers import row

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "failure-modes.md"
#: A bar between cells; escaped ones are text.
_CELLS = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\[(tests/[\w/]+\.py)::(\w+)\]\(\.\./(tests/[\w/]+\.py)\)")


def rows() -> dict[int, list[str]]:
    """Number of a mode -> the other cells of its row."""
    found: dict[int, list[str]] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in _CELLS.split(line)[1:-1]]
        if cells and cells[0].isdigit():
            assert int(cells[0]) not in found
            found[int(cells[0])] = cells[1:]
    return found


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_all_22_modes_are_there_and_say_what_is_done() -> None:
    found = rows()
    assert sorted(found) == list(range(1, 23))
    for cells in found.values():
        assert len(cells) == 4
        assert all(cells)
        assert re.match(r"(stops|avoids|refuses)\b", cells[2])


@pytest.mark.parametrize("mode", range(1, 23))
def test_every_test_that_the_document_links_exists(mode: int) -> None:
    cell = rows()[mode][3]
    links = _LINK.findall(cell)
    assert links
    assert len(links) == cell.count("::") == cell.count("](")
    for path, name, target in links:
        assert target == path
        assert name in functions_of(path)
        assert name.startswith("test_")


def test_every_reason_that_the_document_names_is_one_that_the_render_gives() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text))
    source = "".join(path.read_text() for path in (ROOT / "sekft_engine/render").rglob("*.py"))
    assert len(named) > 9
    assert {reason for reason in named if f'"{reason}"' not in source} == set()


def test_the_template_that_the_document_offers_trains_what_qwen_3s_own_refuses(
    families: MakeBase,
) -> None:
    block = re.search(r"```jinja\n(.*?)\n```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    base = families("qwen3")
    built = row(PLAIN, base.ours.with_template(block[1]))
    assert [base.ours.decode(built.ids[s.start : s.end]) for s in built.spans] == [
        f"{command}<|im_end|>" for command in COMMANDS
    ]

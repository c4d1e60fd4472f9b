"""The page of bases says what the tests of families show."""

from __future__ import annotations

from tests.families.page import PAGE, written


def test_the_tables_of_the_page_are_those_of_the_tests() -> None:
    """Where they are not: ``python -m tests.families.page``."""
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text

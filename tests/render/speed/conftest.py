"""Real tokenizers, as for the other tests of rendering."""

from tests.render.conftest import any_base, bases, smol

__all__ = ["any_base", "bases", "smol"]

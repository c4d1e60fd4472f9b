"""See :mod:`sekft_engine.visible`, which can be had without everything else about rendering."""

from sekft_engine.visible import visible

__all__ = ["visible"]

"""Charts made of characters: curves in Braille, with axes, marks and a cursor.

``raster`` turns points into dots, ``axes`` makes limits and ticks, ``canvas`` holds cells; ``plot``
describes what to draw, ``panel`` draws it, ``view`` is the visible part, ``chart`` is the widget.
"""

from sekft_tui.widgets.chart.chart import Chart

__all__ = ["Chart"]

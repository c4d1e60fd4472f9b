"""Charts of characters: curves in Braille, with axes, marks and a cursor, of any number of points.

``raster`` makes dots of points, ``axes`` limits and ticks, ``canvas`` holds cells; ``plot`` says
what is drawn, ``panel`` draws it, ``view`` is what part of it is seen, ``chart`` is the widget.
"""

from sekft_tui.widgets.chart.chart import Chart

__all__ = ["Chart"]

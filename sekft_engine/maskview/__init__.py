"""A rendered trajectory for the eye: lines, views, pictures. Pure data; no widget, no terminal.

A :mod:`~.document` is laid out as lines of cells (:mod:`~.cells`, :mod:`~.wrap`, :mod:`~.layout`)
and painted (:mod:`~.paint`) in named styles; :mod:`~.facts` are what there is to say of it,
:mod:`~.lines` says so around the tokens, :mod:`~.search` finds text in it. A terminal draws the
styles by its theme; :mod:`~.export` writes them as a page (:mod:`~.html`) or a picture
(:mod:`~.svg`), in :mod:`~.looks` of the :mod:`~.palette`.
"""

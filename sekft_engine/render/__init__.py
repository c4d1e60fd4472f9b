"""Render: normalise, render, mask, certify. Needs neither torch nor transformers.

docs/render.md describes the contract and how a template is traced. Three layers, each importing
only those below it:

- :mod:`~sekft_engine.render.bulk` makes many rows: in order (``rows``), from a cache on disk
  (``cache``, ``row_files``), in other processes (``pool``, ``worker``), both as packed rows
  (``pack``).
- :mod:`~sekft_engine.render.rows` makes one row: ``build`` normalises, renders and tokenises a
  session, ``finish`` cuts the trained spans and certifies them, ``row`` is the result. ``audit``
  certifies a row anew in the slow and plain way; ``difference`` names the first token in which two
  renders differ.
- :mod:`~sekft_engine.render.template` knows the base: ``files`` reads its folder, ``tokenizer`` is
  its tokenizer, ``template`` its chat template, ``guard`` the protection against forged control
  tokens, ``cut`` the tokenising, ``prompt`` what a model reads when it is served. ``scaffold`` is
  what the template writes around contents, ``layout`` where the trained spans are in it.
  ``streaming`` derives all scaffolds of a session in linear time, from runs that ``taint_trace``
  traces.

:mod:`sekft_engine.maskview` displays rows, and :mod:`sekft_engine.contract` compares them with what
a server makes of the same session.
"""

from sekft_engine.data.dropped import Dropped
from sekft_engine.render.bulk.rows import build_rows
from sekft_engine.render.rows.build import build_row
from sekft_engine.render.rows.row import MASKED, Certificate, Row, Span
from sekft_engine.render.template.normalise import Refused, normalize_for_template
from sekft_engine.render.template.tokenizer import ChatTokenizer, RenderDigest

__all__ = [
    "MASKED",
    "Certificate",
    "ChatTokenizer",
    "Dropped",
    "Refused",
    "RenderDigest",
    "Row",
    "Span",
    "build_row",
    "build_rows",
    "normalize_for_template",
]

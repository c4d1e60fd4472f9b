"""Render: normalise, render, mask, certify. Torch-free, and free of transformers.

The way of a session, from top to bottom:

- :mod:`~.load` a base's tokenizer: :mod:`~.files` reads its folder, :mod:`~.tokenizer` is it, with
  a :mod:`~.template` that transformers would render alike and a :mod:`~.guard` against forgery.
- :mod:`~.rows` builds the rows of many sessions, :mod:`~.build` some of them: each is folded
  (:mod:`~.normalise`), rendered, tokenised (:mod:`~.cut`), masked and certified (:mod:`~.finish`).
  What comes out is a :mod:`~.row`.
- What the template writes around contents, kept per number of turns: the :mod:`~.scaffold`, the
  :mod:`~.shape` (with the prompt before each command), the :mod:`~.layout` (marked, with spans).
- How the shape is found in linear time: :mod:`~.trace` runs the template in an environment that
  watches every operation (:mod:`~.watch`), over contents that may not be looked into
  (:mod:`~.opaque`) and over messages whose number is not told (:mod:`~.stream`).
- Rows that are not built here and now: :mod:`~.cache` keeps them on disk (:mod:`~.row_files`),
  :mod:`~.pool` has other processes build them (:mod:`~.worker`), both as :mod:`~.pack` packs them.
- Looking at it: :mod:`~.report` counts, :mod:`~.show` prints; :mod:`sekft_engine.maskview` draws.
- Checking it: :mod:`~.audit` certifies a row anew, the slow and plain way; :mod:`~.difference`
  names the first token that differs, from a given tokenizer (:mod:`~.given`), from an episode
  (:mod:`~.sampled`), or from a server (:mod:`sekft_engine.contract`).
"""

from sekft_engine.render.build import build_row
from sekft_engine.render.normalise import Refused, normalize_for_template
from sekft_engine.render.row import MASKED, Certificate, Row, Span
from sekft_engine.render.rows import build_rows
from sekft_engine.render.tokenizer import ChatTokenizer, RenderDigest
from sekft_engine.sources.dropped import Dropped

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

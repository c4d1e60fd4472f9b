"""Render: normalise, render, mask, certify. Torch-free, and free of transformers."""

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

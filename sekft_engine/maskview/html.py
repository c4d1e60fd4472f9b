"""A document as a page: whole in itself, without a script, whatever the text says.

All text is made visible and escaped, and a policy in the page forbids everything but its own style.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from sekft_engine.core.text import count
from sekft_engine.maskview import facts
from sekft_engine.maskview.cells import shown
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import MaskLayout, MaskLine, Mode, View
from sekft_engine.maskview.lines import MODE_TITLES, VIEW_TITLES, legend, statistics
from sekft_engine.maskview.looks import page_style
from sekft_engine.maskview.paint import Overlay, Parts, joined, paint, style_of, under

#: Lines of a page are not wrapped here but by who shows it.
_ENDLESS = 1 << 20

_STYLE = """
body{background:var(--background);color:var(--foreground);margin:2rem auto;max-width:75rem;
padding:0 1rem;font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.3rem;margin:0 0 .3rem}h2{font-size:1rem}
pre,.legend,.figures{font:14px/1.45 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
.legend,.figures{margin:.3rem 0}
section{margin:0 0 .9rem;padding-left:.8rem;border-left:5px solid transparent}
section.learnt{border-color:var(--trained)}
section>h2{display:flex;gap:.8rem;margin:0 0 .2rem;font-size:.85rem;font-weight:600;
color:var(--quiet);border-bottom:1px solid var(--line)}
section>h2 span{margin-left:auto;font-weight:400}
table{border-collapse:collapse;margin:.6rem 0}
td,th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0}
.c{display:inline-block;vertical-align:top;margin-right:.35em;white-space:pre}
.c>span:empty::before{content:"\\200b"}
.c i{display:block;font-style:normal;font-size:.8em;min-width:1ch}
.c .lane{font-size:1em;line-height:1}
@media(forced-colors:active){.masked,.masked-edge{opacity:1;font-style:italic}}
@media print{section{break-inside:avoid-page}}
"""


def page(doc: Document, view: View, mode: Mode) -> Iterator[str]:
    """The page, in pieces."""
    name = escape(shown(doc.name))
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{name} · {VIEW_TITLES[view]}</title>\n"
        f"<style>{page_style()}{_STYLE}</style></head>\n"
        f"<body><h1>{name}</h1>\n"
    )
    yield f'<p class="figures">{_spans(statistics(doc, None, 400))}</p>\n'
    about = VIEW_TITLES[view] + ("" if view == "certificate" else f" · {MODE_TITLES[mode]}")
    yield f'<p class="legend">{_spans(legend(view, mode, (), 400, name=False))} · {about}</p>\n'
    yield from _certificate(doc, open_=view == "certificate" or not doc.tokenised)
    if view != "certificate":
        yield from _turns(doc, view, mode)
    yield "</body></html>\n"


def _spans(parts: Parts) -> str:
    return "".join(
        f'<span class="{style}">{escape(text)}</span>' if style else escape(text)
        for text, style in parts
    )


def _certificate(doc: Document, *, open_: bool) -> Iterator[str]:
    marks = {"holds": ("✓", "good"), "fails": ("✗", "bad"), "says": ("·", "quiet")}
    yield f"<details{' open' if open_ else ''}><summary>Certificate</summary>\n<table>\n"
    for clause in facts.certificate(doc):
        mark, style = marks[clause.verdict]
        yield (
            f'<tr><td class="{style}">{mark}</td><th>{escape(clause.name.replace("_", " "))}</th>'
            f'<td>{escape(clause.meaning)}<br><span class="quiet">{escape(clause.counted)}</span>'
            "</td></tr>\n"
        )
    yield "</table></details>\n"


def _turns(doc: Document, view: View, mode: Mode) -> Iterator[str]:
    layout = MaskLayout(doc, _ENDLESS, "marks" if view == "marks" else "context", mode)
    opened = False
    for number in range(len(layout)):
        line = layout.line(number)
        if line.head:
            yield "</pre></section>\n" if opened else ""
            yield _head(doc, line.turn)
            opened = True
        elif view in ("ids", "labels", "loss"):
            yield from _columns(doc, line, view)
            yield "\n"
        else:
            yield _runs(doc, layout, line, view) + "\n"
    yield "</pre></section>\n" if opened else ""


def _head(doc: Document, turn: int) -> str:
    info = doc.turn_info(turn)
    kind = "command" if info.command else "environment"
    tokens = count(info.tokens, "token") if doc.tokenised else ""
    if info.trained:
        tokens = f"{info.trained:,} of {tokens} trained"
    note = f"{shown(info.note)} · " if info.note else ""
    learnt = ' class="learnt"' if info.trained else ""
    return f"<section{learnt}><h2>{turn + 1} {kind}<span>{escape(note + tokens)}</span></h2>\n<pre>"


def _runs(doc: Document, layout: MaskLayout, line: MaskLine, view: View) -> str:
    """A line of text; tokens of one style that follow each other in one element."""
    overlays = [Overlay(*doc.blamed, "blame")] if doc.blamed is not None else []
    parts = paint(layout, line, edges=view == "edges", overlays=overlays)[2:]
    return _spans(joined(parts))


def _columns(doc: Document, line: MaskLine, view: View) -> Iterator[str]:
    """A line of tokens, each with its id, label or losses under it."""
    for piece in line.pieces:
        style = style_of(doc, piece.token, edges=view != "loss" or bool(doc.mask[piece.token]))
        raw = doc.text[piece.start : piece.end]
        if view == "loss":
            below, title = _loss(doc, piece.token)
            raw = raw if below else raw.removesuffix("\n")
        else:
            below, title = f'<i class="quiet">{under(doc, piece, view) or " "}</i>', ""
        text = escape(shown(raw))
        if not below:
            yield f'<span class="{style}">{text}</span>'
        else:
            yield f'<span class="c"{title}><span class="{style}">{text}</span>{below}</span>'


def _loss(doc: Document, token: int) -> tuple[str, str]:
    """Two blocks, and the figures as a hint; nothing where there is no loss."""
    found = facts.reading(doc, token)
    before, after = facts.level(found.before), facts.level(found.after)
    if not found.trained or before is None or after is None:
        return "", ""
    worse = found.after > found.before + facts.WORSE
    blocks = (
        f'<i class="lane loss-{before}">{facts.BLOCKS[before] * 2}</i>'
        f'<i class="lane loss-{after}">{facts.BLOCKS[after] * 2}'
        f"{'<b class=worse>!</b>' if worse else ''}</i>"
    )
    return blocks, f' title="before {found.before:.3f}, after {found.after:.3f} nats"'

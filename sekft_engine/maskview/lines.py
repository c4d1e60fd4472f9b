"""What is said around the tokens: heads of turns, statistics, legend, read-out, certificate."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

import numpy as np

from sekft_engine.core.cells import cells, clip, fit
from sekft_engine.core.text import count
from sekft_engine.maskview import facts
from sekft_engine.maskview.cells import shown
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import Mode, View
from sekft_engine.maskview.paint import Parts

VIEW_TITLES: dict[View, str] = {
    "context": "commands in context",
    "edges": "token edges",
    "ids": "token ids",
    "marks": "control tokens",
    "labels": "labels",
    "loss": "loss",
    "certificate": "certificate",
}
MODE_TITLES: dict[Mode, str] = {
    "all": "all tokens",
    "trained": "trained only",
    "masked": "masked only",
}
_SAMPLES: dict[View, Parts] = {
    "context": (
        ("▌", "trained"), ("trained", "trained"), ("  masked", "masked"),
        ("  <control>", "special"), (" ", ""), ("<trained>", "special-trained"),
    ),
    "edges": (
        ("every", "trained"), (" other", "trained-edge"), (" token", "trained"),
        (" is", "trained-edge"), (" underlined", "trained"),
    ),
    "ids": (("under each token its id", "text"), ("  trained", "label"), (" masked", "quiet")),
    "marks": (
        ("⟦CONTROL⟧", "special"), (" · ⇥ ⏎", "mark"), (" white space  ", "text"),
        ("␛ <200b>", "text"), (" invisible", "text"),
    ),
    "labels": (
        ("id", "label"), (" = the label that is trained", "text"), ("  ·", "quiet"),
        (" = -100, masked", "text"),
    ),
    "loss": (),
    "certificate": (("✓ holds", "good"), ("  ✗ fails", "bad"), ("  · said", "quiet")),
}  # fmt: skip


def fitted(parts: list[Parts], width: int) -> Parts:
    """As many of ``parts`` as fit, the first ones first, with a bar between."""
    out: list[tuple[str, str]] = []
    room = width
    for number, part in enumerate(parts):
        between = (" │ ", "rule") if number else (" ", "")
        size = sum(cells(text) for text, _ in part) + len(between[0])
        if size > room:
            continue
        out += [between, *part]
        room -= size
    return tuple(out)


def head(
    doc: Document,
    turn: int,
    width: int,
    *,
    current: bool = False,
    marked: bool = False,
    losses: bool = False,
) -> Parts:
    """The line over a turn."""
    info = doc.turn_info(turn)
    name = "command" if info.command else "environment"
    tail = f" {count(len(doc.turn_text(turn)), 'character')} "
    if doc.tokenised:
        tail = f" {count(info.tokens, 'token')} "
        if info.trained:
            tail = f" {info.trained:,} of {count(info.tokens, 'token')} trained "
    if losses and (mean := _mean(doc, turn)):
        tail = f" {mean} ·{tail}"
    if info.note:
        tail = f" {shown(info.note)} ·{tail}"
    start = f"{turn + 1:>3} {name} "
    room = width - len(start) - cells(tail) - 4
    style = "head" if current else ("strong" if info.command else "quiet")
    return (
        ("▸" if current else " ", "key"),
        ("●" if marked else " ", "accent"),
        (clip(start, width - 2), style),
        ("─" * max(0, room), "rule"),
        (tail if room >= 0 else "", "trained" if info.trained else "quiet"),
    )


def _mean(doc: Document, turn: int) -> str:
    if doc.losses is None:
        return ""
    low, high = (int(place) for place in doc.turn_starts[turn : turn + 2])
    before, after = doc.losses.before[low:high], doc.losses.after[low:high]
    known = ~(np.isnan(before) | np.isnan(after))
    if not known.any():
        return ""
    return f"{before[known].mean():.2f} → {after[known].mean():.2f} nats"


def statistics(doc: Document, share: float | None, width: int) -> Parts:
    """Tokens, trained, terminal, length against the limit, position (0 to 1 of the rows; None
    where there is none)."""
    figures = facts.figures(doc)
    place: list[Parts] = [] if share is None else [((f"{share:.0%} down", "text"),)]
    if not doc.tokenised:
        why: Parts = ((f"✗ {shown(doc.reason or 'not rendered')}", "bad"),)
        length: Parts = ((count(len(doc.text), "character"), "text"),)
        return fitted([why, length, *place, ((count(figures.turns, "turn"), "quiet"),)], width)
    trained: Parts = (
        (f"trained {figures.trained:,} / {figures.tokens:,} = ", "strong"),
        (f"{figures.share:.1%}", "strong"),
    )
    wanted = [trained, *place]
    if figures.terminal:
        wanted.append(((figures.terminal, "good" if figures.terminal == "exit" else "note"),))
    else:
        wanted.append((("no terminal", "warn"),))
    if figures.limit:
        filled = round(min(1.0, figures.full) * 8)
        style = "bad" if figures.full > 1 else "warn" if figures.full > 0.9 else "text"
        wanted.append(
            (
                ("━" * filled, style),
                ("─" * (8 - filled), "rule"),
                (f" {_of_limit(figures)}", style),
            )
        )
    losses = facts.loss_figures(doc)
    if losses is not None and losses.tokens:
        worse = f", {losses.worse:,} worse" if losses.worse else ""
        wanted.append(((f"loss {losses.before:.2f} → {losses.after:.2f} nats{worse}", "text"),))
    wanted.append(((count(figures.commands, "command"), "quiet"),))
    return fitted(wanted, width)


def _of_limit(figures: facts.Figures) -> str:
    """How much of the limit is used; far beyond it, how many times it."""
    if figures.full < 2:
        return f"{figures.full:.0%} of {figures.limit:,}"
    return f"{figures.full:,.1f}x {figures.limit:,}"


def legend(
    view: View, mode: Mode, views: tuple[View, ...], width: int, *, name: bool = True
) -> Parts:
    """What is drawn how, and which of ``views`` this is."""
    samples = _SAMPLES[view] or _scale(width - 30)
    if not name:
        return samples
    title = f" {VIEW_TITLES[view]}"
    if view in views:
        title += f" {views.index(view) + 1}/{len(views)}"
    if view != "certificate":
        title += f" · {MODE_TITLES[mode]}"
    if view in views and width >= _BAR:
        return _with_bar(view, mode, views, width)
    used = 1
    parts = []
    for text, style in samples:
        if used + cells(text) + cells(title) + 1 > width:
            break
        parts.append((text, style))
        used += cells(text)
    return ((" ", ""), *parts, (fit(title + " ", max(0, width - used), right=True), "accent"))


def _with_bar(view: View, mode: Mode, views: tuple[View, ...], width: int) -> Parts:
    """The samples, and the names of all views with that of the present one bright."""
    here = f"{VIEW_TITLES[view]} {views.index(view) + 1}/{len(views)}"
    if view != "certificate":
        here += f" · {MODE_TITLES[mode]}"
    bar = [
        (f" {here} ", "accent") if name == view else (f" {_SHORT.get(name, name)} ", "quiet")
        for name in views
    ]
    room = width - 1 - sum(cells(text) for text, _ in bar)
    samples = _SAMPLES[view] or _scale(room)
    room -= sum(cells(text) for text, _ in samples)
    return ((" ", ""), *samples, (" " * max(0, room), ""), *bar)


#: From this width on the names of all views have room beside every legend.
_BAR = 132
_SHORT: dict[View, str] = {"context": "context", "marks": "control"}


def _scale(width: int) -> Parts:
    """The loss scale, with as many of its numbers as there is room for."""
    out: list[tuple[str, str]] = [("b", "quiet"), ("efore ", "text"), ("a", "quiet")]
    out += [("fter ", "text"), ("! worse ", "worse")]
    for number, step in enumerate(facts.STEPS):
        text = f"{step:g}" if step >= 1 or not step else f"{step:g}"[1:]
        out += [(facts.BLOCKS[number], f"loss-{number}"), (f"{text} ", "quiet")]
    return (*out, ("nats", "quiet")) if width > 40 else tuple(out)


def readout(doc: Document, token: int, width: int) -> Parts:
    """The token under the cursor: text, id, label, loss and probability."""
    if not len(doc):
        return ()
    if not doc.tokenised:
        return ((f" turn {int(doc.turn[token]) + 1}", "text"), (", not tokenised", "quiet"))
    found = facts.reading(doc, token)
    kind = "trained" if found.trained else "masked"
    text = _quoted(found.text, max(8, width // 3))
    parts: list[Parts] = [
        ((text, "strong"),),
        ((f"id {found.id}", "text"),),
        ((f"label {found.id if found.trained else -100}", kind),),
    ]
    if not math.isnan(found.before) and not math.isnan(found.after):
        before, after = math.exp(-found.before), math.exp(-found.after)
        parts.append(
            (
                (f"loss {found.before:.3f} → {found.after:.3f}", "text"),
                (f"  p {before:.3f} → {after:.3f}", "strong"),
            )
        )
    parts.append(((f"token {token + 1:,} of {len(doc):,}", "quiet"),))
    if found.control:
        parts.append((("control", "special"),))
    return fitted(parts, width)


def _quoted(text: str, width: int) -> str:
    """A token's text where its white space counts; '' within a character."""
    if not text:
        return "(part of a character)"
    marked = text.replace("\t", "⇥").replace(" ", "·")
    return "‘" + clip(shown(marked), width) + "’"


def certificate(doc: Document, width: int) -> tuple[Parts, ...]:
    """The certificate as lines."""
    marks = {"holds": ("✓", "good"), "fails": ("✗", "bad"), "says": ("·", "quiet")}
    clauses = list(facts.certificate(doc))
    wide = width >= 76
    indent = 24 if wide else 4
    mark, said, style = _verdict(doc, clauses)
    lines: list[Parts] = [()]
    for text in _wrapped(said, width - 5):
        lines.append(((f" {mark} ", style), (text, style)))
        mark = " "
    lines.append(())
    for clause in clauses:
        mark, style = marks[clause.verdict]
        name = clip(clause.name.replace("_", " "), width - 4)
        texts = [(text, "text") for text in _wrapped(clause.meaning, width - indent - 2)]
        texts += [(text, "quiet") for text in _wrapped(clause.counted, width - indent - 2)]
        first: Parts = ((f" {mark} ", style), (name, "strong"))
        if wide:
            opening = texts[:1] or [("", "")]
            first = ((f" {mark} ", style), (fit(name, indent - 3), "strong"), opening[0])
            texts = texts[1:]
        lines.append(first)
        lines += [((" " * indent, ""), text) for text in texts]
    return (*lines, ())


def _verdict(doc: Document, clauses: list[facts.Clause]) -> tuple[str, str, str]:
    """The certificate in one sentence: mark, text, style."""
    fails = sum(clause.verdict == "fails" for clause in clauses)
    if doc.reason or doc.detail:
        return "✗", "Dropped: this trajectory is not trained on.", "bad"
    if doc.certificate is None:
        return "·", "Not rendered, so nothing is certified.", "strong"
    if fails:
        lines = "a line" if fails == 1 else f"{fails} lines"
        hold = "does" if fails == 1 else "do"
        return "✗", f"Dropped: {lines} of the certificate {hold} not hold.", "bad"
    return "✓", "Certified: every line of the certificate holds.", "good"


def _wrapped(text: str, width: int) -> Iterator[str]:
    for line in textwrap.wrap(text, max(8, width), break_on_hyphens=False):
        yield from _pieces(line, max(8, width))


def _pieces(text: str, width: int) -> Iterator[str]:
    """``text`` (in cells it may be wider than in characters) in pieces that fit."""
    piece = ""
    for character in text:
        if cells(piece + character) > width:
            yield piece
            piece = ""
        piece += character
    yield piece

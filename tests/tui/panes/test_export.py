"""What is exported shows all that the view shows, alone in one file, and runs nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.export import export
from sekft_engine.maskview.html import page
from sekft_engine.maskview.layout import View, views_of
from sekft_engine.maskview.svg import MOST_ROWS, picture
from tests.fuzzing import examples
from tests.tui.widgets.token_app import document, long_document

HOSTILE = (
    "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>",
    "\" onmouseover='x' <!-- ]]> &lt; &#x3c;script&#x3e; {{x}}",
    "\x1b]52;c;aGk=\x07\x00\u202e\u2028\ufffe\ud800 url(http://x/) @import",
)
VIEWS = views_of(document(losses=True))
SVG = "{http://www.w3.org/2000/svg}"


class Reader(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def hostile(name: str = HOSTILE[0]) -> Document:
    texts = (*HOSTILE, "exit")
    doc = document(
        [(text, n % 2 == 1, n == 2, n) for n, text in enumerate(texts)], texts, losses=True
    )
    doc.name = name
    return doc


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_that_a_session_says_becomes_a_part_of_the_page(view: View) -> None:
    found = Reader("".join(page(hostile(), view, "all")))
    assert found.open == []
    assert found.tags <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "details",
        "summary", "table", "tr", "td", "th", "br", "section", "pre", "i", "b",
    }  # fmt: skip
    assert found.attributes <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "open", "title",
    }  # fmt: skip
    text = "".join(found.text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff\ufffe]", text)
    if view == "context":
        assert "</pre></style><script>alert(1)</script>" in text
        assert "<202e><2028><fffe><d800>" in text


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_that_a_session_says_becomes_a_part_of_the_picture(view: View) -> None:
    text = "".join(picture(hostile(), view, "all", 60))
    root = ElementTree.fromstring(text)
    assert {item.tag for item in root.iter()} <= {
        f"{SVG}{name}" for name in ("svg", "title", "style", "rect", "text")
    }
    names = {name for item in root.iter() for name in item.attrib}
    assert not [name for name in names if name.startswith("on") or "href" in name]


@settings(max_examples=examples(50))
@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_makes_a_well_formed_page_and_picture(text: str, name: str) -> None:
    doc = document([(text, True, False, 0)], (text,))
    doc.name = name
    for view in ("context", "marks", "ids"):
        assert Reader("".join(page(doc, view, "all"))).open == []
        ElementTree.fromstring("".join(picture(doc, view, "all", 40)))


def test_a_page_stands_alone_and_forbids_all_but_its_own_style() -> None:
    text = "".join(page(document(), "context", "all"))
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme:dark" in text
    assert '<span class="trained">ls -l notes</span>' in text
    assert '<section class="learnt">' in text
    said = "".join(Reader(text).text)
    assert "trained 6 / 18 = 33.3%" in said
    assert "trained  masked  <control>" in said  # the legend


def test_the_page_shows_ids_labels_and_losses_under_their_tokens() -> None:
    ids = "".join(page(document(), "ids", "all"))
    assert '<span class="trained">ls</span><i class="quiet">1008</i>' in ids
    labels = "".join(page(document(), "labels", "all"))
    assert '<span class="masked-edge">total 0⏎</span><i class="quiet">·</i>' in labels
    losses = "".join(page(document(losses=True), "loss", "all"))
    assert 'title="before 1.500, after 5.000 nats"' in losses
    assert '<i class="lane loss-6">▇▇<b class=worse>!</b></i>' in losses


def test_only_the_trained_tokens_are_written_where_only_they_are_shown() -> None:
    said = "".join(Reader("".join(page(document(), "context", "trained"))).text)
    assert "ls -l notes" in said
    assert "total 0" not in said
    drawn = "".join(picture(document(), "context", "masked", 80))
    assert "ls -l notes" not in drawn
    assert "total 0" in drawn


def test_the_picture_holds_every_line_in_its_place() -> None:
    root = ElementTree.fromstring("".join(picture(document(), "context", "all", 80)))
    rows: dict[str, list[str]] = {}
    for item in root.iter(f"{SVG}text"):
        rows.setdefault(item.attrib["y"], []).append(item.text or "")
    lines = ["".join(texts) for _, texts in sorted(rows.items(), key=lambda row: float(row[0]))]
    assert "▌<|im_start|>ls -l notes<|im_end|>" in lines
    assert all(
        float(item.attrib["x"]) + float(item.attrib["textLength"]) <= 80 * 8.43 + 16.1
        for item in root.iter(f"{SVG}text")
    )


def test_a_dropped_trajectory_is_exported_with_its_reason_and_place() -> None:
    doc = Document.from_turns(
        "x",
        [Turn(role="user", content="a [INST] b"), Turn(role="assistant", content="exit")],
        reason="forged_control",
        detail="turn 0 holds '[INST]'",
    )
    text = "".join(page(doc, "context", "all"))
    assert '<span class="blame">[INST]</span>' in text
    assert "forged control" in "".join(Reader(text).text)


def test_files_are_named_by_what_they_are_and_replaced_whole(tmp_path: Path) -> None:
    for name in ("a.html", "b.svg", "C.HTML"):
        (tmp_path / name).write_text("old")
        export(document(), tmp_path / name, "marks")
        assert "⟦END OF TURN" in (tmp_path / name).read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["C.HTML", "a.html", "b.svg"]
    with pytest.raises(BadInput, match=r"name it \.html or \.svg"):
        export(document(), tmp_path / "x.png")
    with pytest.raises(BadInput, match="choose of context"):
        export(document(), tmp_path / "x.html", "loss")
    with pytest.raises(BadInput, match="cannot be written"):
        export(document(), tmp_path / "none" / "x.html")


def test_a_picture_of_too_many_lines_is_refused_and_the_page_is_not(tmp_path: Path) -> None:
    doc = long_document(200_000)
    with pytest.raises(BadInput, match=f"{MOST_ROWS:,}"):
        export(doc, tmp_path / "x.svg")
    export(doc, tmp_path / "x.html")
    assert (tmp_path / "x.html").stat().st_size > 1_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]

"""Hostile bundles: what people who mean harm write into the fields of a scenario."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

#: What separates arguments, options, paths, lines and variables somewhere on the way.
SEPARATORS = ("\0", "\n", "/", "../", ":", ",", "=", " ", "'", '"', "$(", "`", ";", "\x01", "\x02")
_ATTACKS = (
    "--share-net",
    "--cap-add",
    "ALL",
    "--bind",
    "--ro-bind",
    "/",
    "/w/local/h",
    "../../../checker",
    "../../../filter",
    "../checker",
    "/w/checker",
    "/w/holder",
    "/.checker",
    "/.start/x",
    "/proc/self/mem",
    "/etc/passwd",
    "/etc/../w/checker",
    "/usr/local/../../w/filter",
    "/srv:size=99g",
    "/srv,exec/x",
    "/-delete/x",
    "-o",
    "size=99g",
    "PATH",
    "LD_PRELOAD",
    "A=B",
    "$(touch /tmp/x)",
    "'; exit 0; '",
    "\udc80\udcff",
    "\ud800",
    "x" * 300,
    "a/" * 40 + "b",
    "~/x",
    "~root/x",
    ".",
    "..",
    "",
)
_pieces = st.one_of(
    st.sampled_from(SEPARATORS),
    st.sampled_from(_ATTACKS),
    st.text(max_size=4),
    st.sampled_from(["a", "b", "notes", "data.txt", "README", "/home/user", "/tmp", "/srv/x"]),
)


def hostile_text() -> st.SearchStrategy[str]:
    """Pieces of attacks, of separators and of plain words, joined in any way."""
    return st.lists(_pieces, max_size=5).map("".join)


def _values(plain: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nearly always ``plain`` values, so that many bundles get past the checks; else hostile
    ones."""
    foreign = st.sampled_from([None, 1, 1.5, True, [], {}, ["x"], {"a": 1}])
    others = st.one_of(hostile_text(), hostile_text(), hostile_text(), foreign)
    return st.integers(0, 14).flatmap(lambda draw: others if draw == 7 else plain)


_paths = st.sampled_from([
    "a", "a/b", "dir/", "dir/x", "~/y", "/tmp/t", "/srv/d/f", "/etc/app.conf", "/etc/d/x",
    "/opt/o/p", "/usr/local/share/x", "/var/log/app/l", "/home/user/z", "/etc/deep/", "a b",
])  # fmt: skip
_fixture = st.fixed_dictionaries(
    {"path": _values(_paths), "content": _values(st.sampled_from(["", "x\n", "a\0b"]))},
    optional={"mode": _values(st.sampled_from(["0644", "755", "0500", "0000"]))},
)
_provider = st.fixed_dictionaries(
    {"name": _values(st.sampled_from(["quill", "tovak", "a b", "ä"]))},
    optional={
        "path": _values(st.sampled_from(["/usr/local/bin/quill", "bin/quill", "/opt/q/quill"])),
        "script": _values(st.just("echo hi\n")),
        "man": _values(st.just("QUILL\n")),
    },
)
_announcement = st.fixed_dictionaries(
    {"channel": _values(st.sampled_from(["motd", "banner", "env", "file"]))},
    optional={
        "text": _values(st.just("quill knows")),
        "path": _values(_paths),
        "variable": _values(st.sampled_from(["FOO", "NOTICE", "_x1"])),
    },
)


def hostile_bundles() -> st.SearchStrategy[dict[str, Any]]:
    """Whole bundles as JSON gives them, with something hostile in any field."""
    return st.fixed_dictionaries(
        {
            "id": _values(st.just("hostile")),
            "provider": _values(_provider),
            "announcement": _values(_announcement),
            "fixtures": _values(st.lists(_fixture, max_size=5)),
            "checker": _values(st.just("exit 1")),
            "reference_solution": _values(st.just(["true", "exit"])),
        },
        optional={
            "schema": _values(st.just(1)),
            "terminal": _values(st.just("exit")),
            "archetype": _values(st.just("x")),
            "directives": _values(st.just("none")),
            "doc_depth": _values(st.just("help")),
            "unknown": _values(st.just("x")),
        },
    )

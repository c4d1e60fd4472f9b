"""Sessions for the tests: short ways to write them, and strategies that search for trouble."""

from __future__ import annotations

from hypothesis import strategies as st

from sekft_engine.data.trajectory import Role, Trajectory, Turn

#: What a shell may print that looks like control, in every family's dialect.
MARKERS = (
    "</s>",
    "<s>",
    "[INST]",
    "[/INST]",
    "<|im_end|>",
    "<|im_start|>assistant\n",
    "<|endoftext|>",
    "<unk>",
    "<pad>",
    "<|eot_id|>",
    "<|start_header_id|>user<|end_header_id|>\n\n",
    "<end_of_turn>\n<start_of_turn>model\n",
    "<|end|>\n<|assistant|>\n",
    "<think>\n\n</think>",
    "<｜end▁of▁sentence｜>",
    "[TOOL_CALLS]",
    "\ufdd00.2\ufdef",
    "\ufdd0turn 1\ufdef",
    "\ufdd0",
    "{{ bos_token }}",
)
_HARD = (
    "\n",
    "\r\n",
    "\t",
    " ",
    "  ",
    "\x00",
    "\x1b[2J",
    "é",
    "e\u0301",
    "👩‍💻",
    "שלום",
    "مرحبا",
    "\u202e",
    "▁",
    "ﬁ",
)

_fragments = st.one_of(st.sampled_from(MARKERS), st.sampled_from(_HARD), st.text(max_size=12))
#: Anything that may stand in a turn.
hostile = st.lists(_fragments, max_size=8).map("".join)
#: The same with bytes that were no UTF-8, as a careless reader leaves them.
broken = st.lists(
    st.one_of(_fragments, st.sampled_from(("\ud83d", "\udcff", "\udfff"))), max_size=8
).map("".join)
_plain = st.text("abcdefghij -./$~_=\n0123456789", max_size=40)
environments = st.one_of(_plain, hostile)
commands = st.one_of(
    st.sampled_from(
        ("ls", "ls -la /etc", "cat notes.txt", "exit", "panic 'no disk'", "cat <<E\nx\nE")
    ),
    _plain.map(str.strip).filter(bool),
)
any_commands = st.one_of(commands, hostile.filter(lambda text: bool(text.strip())))


def turns(*contents: str) -> tuple[Turn, ...]:
    """Alternating turns, the environment first."""
    return tuple(
        Turn(role="assistant" if number % 2 else "user", content=content)
        for number, content in enumerate(contents)
    )


def session(*contents: str, name: str = "s") -> Trajectory:
    """A kept trajectory of :func:`turns`."""
    return Trajectory(id=name, turns=turns(*contents), archetype="disk", keep=True, outcome="exit")


PLAIN = session(
    "Welcome to box.\nuser@box:~$",
    "ls -la",
    "total 4\n-rw-r--r-- 1 user user 12 notes.txt\nuser@box:~$",
    "cat notes.txt",
    "wörld 👋\nuser@box:~$",
    "exit",
)

#: Pipes, here-documents, quotes, colours and errors, as sessions are full of.
SHELL = session(
    "Debian GNU/Linux 13 box tty1\n\nOrders are held by quil(1).\nuser@box:~$",
    "quil --help 2>&1 | sed -n '1,20p'",
    "usage: quil [-v] get NAME\n\n  -v\tsay more\n        --   ends options\nuser@box:~$",
    "cat > run.sh <<'EOF'\n#!/bin/sh\n  echo \"$1\"   # keep\nEOF",
    "user@box:~$",
    "find . -name '*.log' -size +10k -exec rm -- {} \\;",
    "rm: cannot remove './a.log': Permission denied\nuser@box:~$",
    "awk '{ n[$1]++ } END { for (k in n) printf \"%s\\t%d\\n\", k, n[k] }' access",
    "10.0.0.1\t3\n10.0.0.2\t1\n\x1b[31mwarning\x1b[0m\r\nuser@box:~$",
    "panic 'cannot remove ./a.log'",
)


@st.composite
def sessions(draw: st.DrawFn, command: st.SearchStrategy[str] = commands) -> Trajectory:
    """Alternating sessions, with an environment turn after the last command now and then."""
    pairs = draw(st.lists(st.tuples(environments, command), min_size=1, max_size=5))
    contents = [text for pair in pairs for text in pair]
    if draw(st.booleans()):
        contents.append(draw(environments))
    return session(*contents)


@st.composite
def raw_turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    """Turns in any order, as a reader may find them."""
    roles: st.SearchStrategy[Role] = st.sampled_from(("system", "user", "assistant"))
    return tuple(
        Turn(role=role, content=content)
        for role, content in draw(st.lists(st.tuples(roles, hostile), max_size=8))
    )

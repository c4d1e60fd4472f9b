"""What transformers itself says of a session: does the template show it, whole and in order?"""

from __future__ import annotations

from typing import Any

from sekft_engine.data.trajectory import Trajectory
from tests.render.test_equals_transformers import messages


def render(theirs: Any, chat: list[dict[str, str]], *, prompt: bool = False) -> str:
    """The template's text, by transformers."""
    return str(theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt))


def shown_whole(theirs: Any, trajectory: Trajectory) -> bool:
    """Whether every content stands in the render as it was said, in the place of its turn, and
    nothing else in it depends on what was said."""
    chat = messages(trajectory)
    return all(_in_place(theirs, chat, width) for width in (3, 8))


def _in_place(theirs: Any, chat: list[dict[str, str]], width: int) -> bool:
    """The same, with names of so many characters in the places of the contents."""
    names = [f"\u27e6{number:0{width - 2}}\u27e7" for number in range(len(chat))]
    shown = render(theirs, [one | {"content": name} for one, name in zip(chat, names, strict=True)])
    for name, one in zip(names, chat, strict=True):
        if shown.count(name) != 1:
            return False
        shown = shown.replace(name, one["content"])
    return shown == render(theirs, chat)


def appends(theirs: Any, trajectory: Trajectory) -> bool:
    """Whether each prompt is how the whole render begins, and the command all that follows it up
    to what closes the turn."""
    chat = messages(trajectory)
    whole = render(theirs, chat)
    for turn in range(1, len(chat), 2):
        prompt = render(theirs, chat[:turn], prompt=True)
        said = whole[len(prompt) :].removeprefix(" ")
        if not whole.startswith(prompt) or not said.startswith(chat[turn]["content"]):
            return False
    return True

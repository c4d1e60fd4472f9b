"""The tour of the README plays in any terminal, and shows what the README says."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise

from docs.cast_picture import Screen, moving_picture, screens
from tests.tui.terminal import ROOT

CAST = ROOT / "docs/pictures/tour.cast"
PICTURE = ROOT / "docs/pictures/tour.svg"
#: The screen of its own, the cursor, and nothing else that stays when playing is broken off.
MODES = {"\x1b[?1049h", "\x1b[?1049l", "\x1b[?25l", "\x1b[?25h"}


@cache
def recording() -> str:
    return CAST.read_text(encoding="utf-8")


@cache
def played() -> tuple[Screen, ...]:
    return tuple(screens(recording()))


def shown(*texts: str) -> bool:
    return any(all(text in screen.text for text in texts) for screen in played())


def test_it_shows_masked_and_trained_tokens_of_a_session() -> None:
    assert shown("1 environment", "masked", "tokens trained", "certified")
    assert shown("trained only")


def test_it_shows_the_curve_of_a_run() -> None:
    assert shown("loss (nats per trained token)", "learning rate", "grad norm")
    braille = re.compile("[\u2801-\u28ff]")
    assert any(len(braille.findall(screen.text)) > 100 for screen in played())


def test_it_shows_the_verdicts_of_an_eval_beside_controls() -> None:
    assert shown("scenario", "solved", "oracle", "always-panic", "95 %")


def test_it_replays_an_episode_up_to_its_verdict() -> None:
    assert shown("4 Replay", "user@box", "turn 2/")
    assert shown("verdict", "output of the checker")


def test_it_takes_less_than_a_minute_and_never_stands_still_for_long() -> None:
    times = [screen.at for screen in played()]
    assert 40 <= times[-1] <= 60
    assert max(b - a for a, b in pairwise(times)) <= 2.5


def test_it_is_small_and_has_the_size_of_a_usual_window() -> None:
    header = json.loads(recording().partition("\n")[0])
    assert (header["version"], header["width"], header["height"]) == (2, 120, 36)
    assert CAST.stat().st_size < 400_000
    assert PICTURE.stat().st_size < 400_000


def test_a_recording_of_the_next_version_is_played_alike() -> None:
    third = {"version": 3, "term": {"cols": 12, "rows": 2}}
    second = {"version": 2, "width": 12, "height": 2}
    lines = [[0.5, "o", "$ ls"], [0.75, "m", "here"], [2.0, "o", "\r\nnotes"]]
    waits = [[0.5, "o", "$ ls"], [0.25, "m", "here"], [1.25, "o", "\r\nnotes"]]

    def seen(*parts: object) -> list[tuple[float, str, str]]:
        played = screens("\n".join(map(json.dumps, parts)))
        return [(screen.at, screen.caption, screen.text) for screen in played]

    assert seen(second, *lines) == seen(third, *waits)
    assert seen(third, *waits)[-1] == (2.0, "here", "$ ls\nnotes")


def test_it_leaves_the_terminal_that_plays_it_as_it_was() -> None:
    sent = "".join(
        text for _, code, text in map(json.loads, recording().splitlines()[1:]) if code == "o"
    )
    unusual = re.findall(r"\x1b(?!\[[\d;]*[mHJ])(?:\[[^a-zA-Z]*[a-zA-Z]?|.)", sent)
    assert set(unusual) == MODES
    assert sent.endswith("\x1b[0m\x1b[?25h\x1b[?1049l")


def test_it_says_nothing_of_the_machine_where_it_was_recorded() -> None:
    for screen in played():  # /home/user is where a world begins
        assert not re.search(r"(?<![\w~])/(?:root|home(?!/user\b)|tmp|work|Users)/", screen.text), (
            screen.text
        )


def test_the_moving_picture_is_made_of_it_and_needs_nothing_else() -> None:
    picture = PICTURE.read_text(encoding="utf-8")
    assert picture == moving_picture(recording()), "run: python -m docs.record_tour WORKSPACE"
    assert not re.search(r"""(?:href|src)="(?!#)|url\(|@import|<script""", picture)

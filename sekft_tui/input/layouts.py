"""Keys by their place on the keyboard, for keyboards of other alphabets.

On a Russian keyboard the key of ``q`` gives ``й``. A terminal with the kitty keyboard protocol
reports that letter, and on request also the key of the standard layout at that place (``base layout
key`` in https://sw.kovidgoyal.net/kitty/keyboard-protocol/). Terminals without it report only the
letter; for the commonest layouts the place is known all the same.
"""

from __future__ import annotations

_STANDARD = "`qwertyuiop[]asdfghjkl;'zxcvbnm,."
#: The same keys with shift.
_SHIFTED = '~QWERTYUIOP{}ASDFGHJKL:"ZXCVBNM<>'
_SHIFTED_OF = dict(zip(_STANDARD, _SHIFTED, strict=True))
#: What the keys of the standard layout give, in its order, without and with shift.
_LAYOUTS = (
    "ёйцукенгшщзхъфывапролджэячсмитьбю",  # Russian
    "'йцукенгшщзхїфівапролджєячсмитьбю",  # Ukrainian
    "ўйцукенгшўзх'фывапролджэячсмітьбю",  # Belarusian
    "чявертъуиопшщасдфгхйкл;'зьцжбнм,.",  # Bulgarian, phonetic
    "`;ςερτυθιοπ[]ασδφγηξκλ΄'ζχψωβνμ,.",  # Greek
    ";/'קראטוןםפ][שדגכעיחלךף,זסבהנמצתץ",  # Hebrew
)


def _table() -> dict[str, str]:
    found: dict[str, str] = {}
    for layout in _LAYOUTS:
        for letter, place in zip(layout, _STANDARD, strict=True):
            if letter.isalpha() and not letter.isascii():
                found.setdefault(letter, place)
                if letter.upper() != letter:
                    found.setdefault(letter.upper(), _SHIFTED_OF[place])
    return found


_PLACES = _table()


def by_place(letter: str) -> str | None:
    """The letter or sign of the standard layout where the keyboard has ``letter``; None =
    unknown."""
    return _PLACES.get(letter)


def learn(letter: str, place: str) -> None:
    """Note that a terminal reported ``place`` as the standard layout's key of ``letter``."""
    if len(letter) == 1 and letter.isalpha() and not letter.isascii() and place in _SHIFTED_OF:
        _PLACES[letter] = place
        if len(letter.upper()) == 1 and letter.upper() != letter:
            _PLACES[letter.upper()] = _SHIFTED_OF[place]

"""Colours that carry a meaning are told apart by every eye and hold on 256-colour terminals."""

from __future__ import annotations

from itertools import combinations

import pytest
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import Theme

from sekft_engine.maskview import palette
from sekft_tui import theme

#: Full colour blindness of three kinds, as matrices over linear RGB.
KINDS = {
    "protanopia": ((0.1124, 0.8876, 0.0), (0.1124, 0.8876, 0.0), (0.004, -0.004, 1.0)),
    "deuteranopia": ((0.2928, 0.7072, 0.0), (0.2928, 0.7072, 0.0), (-0.0223, 0.0223, 1.0)),
    "tritanopia": ((1.0, 0.1273, -0.1273), (0.0, 0.8739, 0.1261), (0.0, 0.8739, 0.1261)),
    "none": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}
SAFE = (theme.SAFE_DARK, theme.SAFE_LIGHT)
Lab = tuple[float, float, float]


def linear(hexed: str) -> list[float]:
    parts = [part / 255 for part in Color.parse(hexed).rgb]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def seen_as(hexed: str, kind: str) -> Lab:
    """A colour in CIE Lab, as an eye of ``kind`` sees it."""
    rgb = linear(hexed)
    r, g, b = (max(0.0, sum(w * c for w, c in zip(row, rgb, strict=True))) for row in KINDS[kind])
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (max(0.0, v) for v in (x, y, z))
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def apart(one: str, other: str, kind: str) -> float:
    return float(
        sum((a - b) ** 2 for a, b in zip(seen_as(one, kind), seen_as(other, kind), strict=True))
        ** 0.5
    )


def contrast(one: str, other: str) -> float:
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(other))]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", theme.THEMES, ids=lambda own: own.name)
def test_trained_masked_and_control_are_told_apart_by_every_eye(own: Theme, kind: str) -> None:
    for one, other in combinations(("trained", "masked", "special"), 2):
        assert apart(own.variables[one], own.variables[other], kind) > 12, (one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", SAFE, ids=lambda own: own.name)
def test_the_colour_blind_themes_tell_good_from_bad_by_hue_for_every_eye(
    own: Theme, kind: str
) -> None:
    assert apart(own.variables["good"], own.variables["bad"], kind) > 25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", SAFE, ids=lambda own: own.name)
def test_the_colour_blind_themes_tell_seven_curves_apart_for_every_eye(
    own: Theme, kind: str
) -> None:
    curves = ("curve", *(f"hue-{number}" for number in range(6)))
    for one, other in combinations(curves, 2):
        assert apart(own.variables[one], own.variables[other], kind) > 20, (one, other)


@pytest.mark.parametrize("own", theme.THEMES, ids=lambda own: own.name)
def test_text_holds_its_contrast(own: Theme) -> None:
    assert own.background is not None
    for name in ("trained", "masked", "special", "good", "bad", "warn", "quiet", "mark"):
        assert contrast(own.variables[name], own.background) >= 4.5, name
    for step in range(8):
        assert contrast(own.variables[f"loss-{step}"], own.background) >= 3, step
    for number in range(6):
        assert contrast(own.variables[f"hue-{number}"], own.background) >= 3, number


@pytest.mark.parametrize("own", theme.THEMES, ids=lambda own: own.name)
def test_trained_and_masked_stay_apart_with_256_colours(own: Theme) -> None:
    def quantised(name: str) -> tuple[int, ...]:
        rich = Color.parse(own.variables[name]).rich_color.downgrade(ColorSystem.EIGHT_BIT)
        return tuple(rich.get_truecolor())

    seen = {quantised(name) for name in ("trained", "masked", "special", "good", "bad")}
    assert len(seen) >= 4
    assert len({quantised(name) for name in ("trained", "masked", "special")}) == 3


@pytest.mark.parametrize("colours", [palette.DARK, palette.LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("kind", KINDS)
def test_more_loss_is_further_from_the_ground_for_every_eye(
    colours: dict[str, str], kind: str
) -> None:
    ground = seen_as(colours["background"], kind)[0]
    steps = [abs(seen_as(colours[f"loss-{step}"], kind)[0] - ground) for step in range(8)]
    assert steps == sorted(steps)

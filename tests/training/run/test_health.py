"""Odd steps are told of: a loss that leaps, a gradient that is gone."""

from __future__ import annotations

from sekft_engine.training.run.health import SPIKE, VANISHING, Signs


def seen(losses: list[float], norms: list[float] | None = None) -> tuple[Signs, list[str]]:
    signs, told = Signs(), []
    for step, loss in enumerate(losses, 1):
        norm = norms[step - 1] if norms else 1.0
        signs, found = signs.after(step, loss, norm)
        told += [f"{step} {sign.kind}" for sign in found]
    return signs, told


def test_a_loss_far_above_the_others_is_a_spike() -> None:
    calm = [3.0, 2.8, 2.9, 2.5, 2.6, 2.2, 2.4, 2.1, 2.2, 2.0]
    signs, told = seen([*calm, 6.5, 2.0, 1.9, 7.0])
    assert told == [f"11 {SPIKE}", f"14 {SPIKE}"]
    assert signs.seen == {SPIKE: (11, 14)}


def test_what_is_usual_for_the_run_is_no_spike() -> None:
    assert seen([4.0, 2.0] * 20)[1] == []
    assert seen([0.01, 0.012] * 10 + [0.2])[1] == [], "little is little, however many times"
    assert seen([9.0, 0.5])[1] == seen([0.5, 9.0])[1] == [], "two steps tell nothing"


def test_a_gradient_that_is_gone_is_told_once_until_it_is_back() -> None:
    norms = [2.0] * 8 + [1e-4] * 3 + [1.5] + [1e-4]
    assert seen([1.0] * 13, norms)[1] == [f"9 {VANISHING}", f"13 {VANISHING}"]
    assert seen([1.0], [0.0])[1] == [f"1 {VANISHING}"], "no gradient at all needs no comparison"
    assert seen([1.0] * 40, [2.0 / step for step in range(1, 41)])[1] == []

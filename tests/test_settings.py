"""Recipe, dialect, workspace and the command table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.dialect import Dialect
from sekft_engine.data.recipe import Recipe, recipe_fields, recipe_from
from sekft_engine.data.workspace import Workspace


def test_every_recipe_field_is_explained() -> None:
    fields = recipe_fields()
    assert [field.name for field in fields] == list(Recipe.__struct_fields__)
    assert all(field.help for field in fields)


def test_a_recipe_may_be_typed_as_text() -> None:
    assert recipe_from({"lr": "1e-3", "rank": "8", "schedule": "linear"}) == Recipe(
        lr=1e-3, rank=8, schedule="linear"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lr": "-1"}, "recipe: lr -1: enter a number > 0"),
        ({"lr": "inf"}, "lr inf: enter a number <= 1e.30"),
        ({"alpha": "nan"}, "alpha nan: enter a number > 0"),
        ({"epochs": "inf"}, "epochs inf: enter a number <= 100000"),
        ({"seed": "9" * 30}, "seed 9+: enter a whole number <= 9007"),
        ({"rank": "many"}, "rank many: enter a whole number"),
        ({"speed": "1"}, "unknown field speed"),
        ({"schedule": "sine"}, "schedule sine: enter one of .*cosine"),
        ({"dropout": "1"}, "dropout 1: enter a number < 1"),
    ],
)
def test_a_wrong_recipe_names_the_field(values: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        recipe_from(values)


@given(st.text(), st.text(alphabet="/ab$ "))
def test_an_environment_turn_always_ends_with_the_prompt(output: str, tail: str) -> None:
    dialect = Dialect()
    turn = dialect.environment_turn(output, "/home/user" + tail)
    assert turn.endswith("$")
    assert turn == turn.rstrip()


def test_the_home_is_shown_as_a_tilde_and_only_the_home() -> None:
    dialect = Dialect()
    assert dialect.render_prompt("/home/user") == "user@box:~$"
    assert dialect.render_prompt("/home/user/a") == "user@box:~/a$"
    assert dialect.render_prompt("/home/users") == "user@box:/home/users$"
    assert dialect.digest != Dialect(prompt="# ").digest


def test_a_workspace_keeps_the_settings_it_finds(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "w").create()
    assert space.dialect == Dialect()
    space.config_path.write_text('base = "here"\n[dialect]\nprompt = "%"\n')
    (space.bases / "here").mkdir()
    assert Workspace(tmp_path / "w").create().dialect.prompt == "%"
    assert space.base == str(space.bases / "here")


def test_a_broken_workspace_file_is_named(tmp_path: Path) -> None:
    space = Workspace(tmp_path).create()
    space.config_path.write_text("base = \n")
    with pytest.raises(BadInput, match=r"sekft\.toml"):
        _ = space.base


def test_a_workspace_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="--workspace"):
        Workspace(tmp_path / "file" / "w").create()


def test_an_error_is_one_line_with_place_and_way_out() -> None:
    assert str(SekftError("gone", where="a:1", mend="look")) == "a:1: gone (look)"


def test_wrong_usage_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nonsense"]) == 2
    assert run(["doctor", "--nonsense"]) == 2
    assert "No such" in capsys.readouterr().err

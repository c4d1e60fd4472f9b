"""The recipe: every field is told, and a wrong one is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe, recipe_fields
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import jobs


def test_every_field_is_a_flag_that_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["train", "--help"]) == 0
    told = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    for field in recipe_fields():
        assert f"--{field.name.replace('_', '-')}" in told
        assert field.help
        assert "".join(field.help.split()) in told
    assert [field.name for field in recipe_fields()] == list(Recipe.__struct_fields__)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rank": 0}, "rank"),
        ({"lr": -1.0}, "lr"),
        ({"schedule": "wavy"}, "schedule"),
        ({"patience": 3, "heldout": 0.0}, "patience"),
    ],
)
def test_a_wrong_one_is_refused_before_anything_is_loaded(
    change: dict[str, object], line: str, tmp_path: Path
) -> None:
    engine = Engine(nice=0).start()
    recipe = msgspec.structs.replace(Recipe(), **change)
    job = jobs.Train(base="/no/such/base", data="/no/such/data", out="/none", recipe=recipe)
    with pytest.raises(BadInput, match=line):
        run_job(job, engine=engine)
    assert engine.residence.base is None
    assert engine.close()
    assert list(tmp_path.iterdir()) == []

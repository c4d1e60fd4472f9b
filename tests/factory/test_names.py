"""Names that a world makes up."""

from __future__ import annotations

import re
from random import Random

from sekft_engine.factory.names import Names


def test_no_made_up_program_has_a_name_that_one_is_ashamed_of() -> None:
    drawn = [Names(Random(seed), "train").program() for seed in range(800)]
    assert len(set(drawn)) > 300
    assert not [name for name in drawn if re.search("fuck|cunt|dick|cock|shit|piss|slut", name)]

"""Worlds run as a uid that no account has, however they are started."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from sekft_engine.worlds import open_world
from sekft_engine.worlds.bubblewrap import launcher
from sekft_engine.worlds.bubblewrap.launcher import SANDBOX_UID
from tests.worlds.conftest import scenario, started_here


def standing(process: psutil.Process) -> dict[str, list[str]]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(":", 1) for line in lines)
    return {name: facts[name].split() for name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")}


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's worlds are its own")
@pytest.mark.parametrize("program", [True, False])
def test_worlds_of_root_run_as_nobody_at_all(
    program: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not launcher._can_drop():
        pytest.skip("this user namespace does not know the uid")
    if not program:
        monkeypatch.setattr(launcher, "_as_other", tuple)
    elif not launcher._as_other():
        pytest.skip("no setpriv here")
    before = started_here()
    with open_world(scenario(), sandbox="bubblewrap") as world:
        (sandbox,) = started_here() - before
        told = standing(sandbox)
        assert told["Uid"] == told["Gid"] == 4 * [str(SANDBOX_UID)]
        assert told["Groups"] == []
        assert {*told["CapEff"], *told["CapPrm"]} == {16 * "0"}
        assert world.run("id -u").output == "1000\n"

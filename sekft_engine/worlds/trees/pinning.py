"""Make the list of packages that the debian userland is pinned to; run on a Debian system.

    python -m sekft_engine.worlds.trees.pinning > sekft_engine/worlds/debian-12-amd64.lock

Needs apt's lists of the suite. Each line: archive, path in it, size, SHA-256.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

#: What an inhabitant finds: a small Debian system with pages to read and the usual tools.
WANTED = """
base-files bash bc bsdextrautils bsdutils bzip2 coreutils cpio dash dc debianutils diffutils ed file
findutils grep gzip hostname less libc-bin m4 man-db manpages mawk ncal ncurses-base ncurses-bin
patch perl-base procps psmisc sed tar time tree unzip util-linux vim-tiny xz-utils zip
""".split()  # noqa: SIM905 - to be read
#: Needed to install packages, or by what is not used here.
LEFT_OUT = frozenset(
    """
    base-passwd debconf dpkg gcc-12-base init-system-helpers libdb5.3 libdebconfclient0
    libfile-find-rule-perl libgdbm-compat4 libnumber-compare-perl libperl5.36 libtext-glob-perl
    perl perl-modules-5.36 usrmerge util-linux-extra
    """.split()  # noqa: SIM905 - to be read
)
_LINE = re.compile(r"'https?://[^/]+/(?:.*/)?(debian(?:-security)?)/(pool/[^']+)' (\S+) (\d+)")


def _apt(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout


def lock_lines() -> list[str]:
    """The lines of a lock for this machine's suite and architecture."""
    with tempfile.TemporaryDirectory() as empty:
        said = _apt(
            "apt-get", "--print-uris", "-y",
            "-o", "Dir::State::status=/dev/null", "-o", f"Dir::Cache::archives={empty}",
            "-o", "APT::Install-Recommends=false", "-o", "Debug::NoLocking=1",
            "install", *WANTED,
        )  # fmt: skip
    out = []
    for line in said.splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        archive, path, file, size = found.groups()
        name, version, _ = file.replace("%3a", ":").split("_")
        if name in LEFT_OUT:
            continue
        facts = _apt("apt-cache", "show", f"{name}={version}")
        digest = re.search(r"^SHA256: ([0-9a-f]{64})$", facts, re.MULTILINE)
        if digest is None:
            raise SystemExit(f"apt does not know the digest of {name} {version}")
        out.append(f"{archive} {path} {size} {digest[1]}")
    return sorted(out, key=lambda line: line.rsplit("/", 1)[1])


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lock_lines()))

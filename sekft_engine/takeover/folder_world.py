"""A world with a copy of a folder's files, for a session that nothing judges."""

from __future__ import annotations

import os
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.data.bundle_check import MAX_ENTRIES, MAX_FILE_BYTES, check_bundle
from sekft_engine.data.scenario import Announcement, Fixture, Provider, Scenario

#: The program of the world that shows what the folder says of itself.
ABOUT = "about"
_SCRIPT = "#!/bin/sh\ncat ~/README* 2>/dev/null || ls ~\n"
_CHECKER = 'echo "a copy of a folder: nothing says when it is done"; exit 1\n'


def scenario_of_folder(folder: Path) -> Scenario:
    """A scenario whose home holds a copy of ``folder``; names that begin with a dot, and links,
    are left out.

    Raises:
        BadInput: it is no folder, has too much in it, or a file that is no text.
    """
    place = folder.expanduser().absolute()
    if not place.is_dir():
        raise BadInput("no such folder", where=str(folder), mend="--world takes a folder")
    fixtures: list[Fixture] = []
    size = 0
    for path in _files(place):
        size += path.stat().st_size
        if len(fixtures) >= MAX_ENTRIES or size > MAX_FILE_BYTES:
            raise BadInput(
                f"more than {MAX_ENTRIES} files, or {MAX_FILE_BYTES >> 20} MiB",
                where=str(place),
                mend="copy what the model is to see into a folder of its own",
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise BadInput(
                "not a text file", where=str(path), mend="move it out of this folder"
            ) from None
        mode = "0755" if os.access(path, os.X_OK) else "0644"
        name = path.relative_to(place).as_posix()
        fixtures.append(Fixture(path=name, content=text, mode=mode))
    scenario = Scenario(
        id=place.name or "world",
        provider=Provider(name=ABOUT, path=f"/usr/local/bin/{ABOUT}", script=_SCRIPT),
        announcement=Announcement(text=f"{ABOUT}: what is here"),
        fixtures=tuple(fixtures),
        checker=_CHECKER,
    )
    check_bundle(scenario, str(place))
    return scenario


def _files(place: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                found.append(path)
            if len(found) > MAX_ENTRIES:
                return found
    return found

"""The files of a world, made from a bundle, and what its shell prints at login."""

from __future__ import annotations

import posixpath

import msgspec

from sekft_engine.data.bundle_check import check_bundle, octal_mode
from sekft_engine.data.scenario import Fixture, Scenario
from sekft_engine.data.world_paths import (
    HOME,
    LOCAL,
    MAN_PAGES,
    SHM,
    TMP,
    below,
    encode_text,
    world_path,
)

_BANNER_LINE = "*" * 16

MAN = """\
#!/bin/sh
# man: the pages of this world as plain text, else the system's own.
for name; do :; done
page=/usr/local/share/man/$name
if [ $# -gt 0 ] && [ -f "$page" ]; then exec cat "$page"; fi
[ -x /usr/bin/man ] && MANPAGER=cat exec /usr/bin/man "$@"
[ $# -gt 0 ] || { echo 'What manual page do you want?'; exit 1; }
echo "No manual entry for $name" >&2
exit 16
"""
PASSWD = f"root:x:65534:65534:root:/root:/bin/sh\nuser:x:1000:1000:user:{HOME}:/bin/sh\n"
GROUP = "root:x:65534:\nuser:x:1000:\n"


class Entry(msgspec.Struct, frozen=True):
    """A file or folder of the world: absolute path, content (None = a folder), octal mode."""

    path: str
    content: bytes | None
    mode: str


class WorldLayout(msgspec.Struct, frozen=True):
    """The files and variables that a bundle puts into its world.

    Attributes:
        entries: files of the writable trees, parents before children.
        trees: the top folders of those trees besides /home and /tmp.
        etc: single files under /etc, bound writable.
        local: files of the world's own read-only /usr/local, paths relative to it.
        login: what the shell prints before its first prompt.
        variables: environment variables of the session, for announcements.
    """

    entries: tuple[Entry, ...]
    trees: tuple[str, ...]
    etc: tuple[Entry, ...]
    local: tuple[Entry, ...]
    login: str
    variables: tuple[tuple[str, str], ...]

    @property
    def writable(self) -> tuple[str, ...]:
        """A folder in each file system that a session can write to."""
        folders = (entry.path for entry in self.etc if entry.content is None)
        return ("/home", TMP, *self.trees, SHM, *list(folders)[:1])


def lay_out(scenario: Scenario) -> WorldLayout:
    """The layout of the world of ``scenario``.

    Raises:
        BadInput: a field has a value that no world can have; names the field.
    """
    where = scenario.id
    check_bundle(scenario, where)
    announcement, provider = scenario.announcement, scenario.provider
    man = Entry(f"{LOCAL}/bin/man", MAN.encode(), "0555")
    files: dict[str, Entry] = {man.path: man}
    for fixture in scenario.fixtures:
        entry = _entry(fixture, where)
        files[entry.path] = entry
    if announcement.channel == "file":
        path = world_path(announcement.path or "README", where)
        files[path] = Entry(path, _text(announcement.text), "0644")
    if provider.script:
        path = world_path(provider.path or f"{LOCAL}/bin/{provider.name}", where)
        script = provider.script
        if not script.startswith("#!"):
            script = f"#!/bin/sh\n{script}"
        mode = "0555" if path.startswith(f"{LOCAL}/") else "0755"
        files[path] = Entry(path, _text(script), mode)
    if provider.man:
        path = below(MAN_PAGES, provider.name)
        files[path] = Entry(path, _text(provider.man), "0444")
    local: list[Entry] = []
    etc: list[Entry] = []
    rest: list[Entry] = []
    for path, entry in sorted(files.items()):
        if path.startswith(f"{LOCAL}/"):
            local.append(msgspec.structs.replace(entry, path=path.removeprefix(f"{LOCAL}/")))
        elif path.startswith("/etc/"):
            etc.append(entry)
        else:
            rest.append(entry)
    return WorldLayout(
        entries=tuple(_with_parents(rest)),
        trees=_trees(rest),
        etc=tuple(etc),
        local=tuple(local),
        login=_login(scenario),
        variables=(
            ((announcement.variable or "NOTICE", announcement.text.strip()),)
            if announcement.channel == "env"
            else ()
        ),
    )


def _entry(fixture: Fixture, where: str) -> Entry:
    path, mode = world_path(fixture.path, where), octal_mode(fixture.mode, where)
    if fixture.path.endswith("/"):
        return Entry(path, None, "0755" if fixture.mode == "0644" else mode)
    return Entry(path, encode_text(fixture.content), mode)


def _text(text: str) -> bytes:
    return encode_text(text if text.endswith("\n") else text + "\n")


def _with_parents(entries: list[Entry]) -> list[Entry]:
    """``entries`` with every missing parent folder before its children."""
    named = {entry.path for entry in entries}
    made: set[str] = {HOME, "/home", TMP, "/"}
    out: list[Entry] = []
    for entry in entries:
        missing: list[str] = []
        parent = posixpath.dirname(entry.path)
        while parent not in made and parent not in named:
            missing.append(parent)
            parent = posixpath.dirname(parent)
        made.update(missing)
        out += [Entry(path, None, "0755") for path in reversed(missing)]
        made.add(entry.path)
        if entry.path not in (HOME, "/home", TMP):
            out.append(entry)
    return out


def _trees(entries: list[Entry]) -> tuple[str, ...]:
    tops = {entry.path.split("/")[1] for entry in entries} - {"home", "tmp"}
    return tuple(sorted(f"/{top}" for top in tops))


def _login(scenario: Scenario) -> str:
    text = scenario.announcement.text.strip("\n")
    match scenario.announcement.channel:
        case "motd":
            return f"{text}\n" if text else ""
        case "banner":
            return f"{_BANNER_LINE}\n{text}\n{_BANNER_LINE}\n"
        case _:
            return ""

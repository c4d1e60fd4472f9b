"""What stands in a world: a bundle turned into files, and what its shell reads at login."""

from __future__ import annotations

import posixpath

import msgspec

from sekft_engine.errors import BadInput
from sekft_engine.scenario import Fixture, Scenario

HOME = "/home/user"
TMP = "/tmp"  # noqa: S108 (a path of the world, not of this machine)
SHM = "/dev/shm"  # noqa: S108
PANIC_FILE = f"{HOME}/.panic"
PANIC_STATUS = 97
#: Trees that are the world's own and writable; /etc and /usr/local take single files.
_SYSTEM = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc", "dev", "sys", "w"}
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


class Layout(msgspec.Struct, frozen=True):
    """Everything that bubblewrap is told about one bundle.

    Attributes:
        entries: files of the writable trees, parents before children.
        trees: the top folders of those trees besides /home and /tmp.
        etc: single files under /etc, bound writable.
        local: files of the world's own read-only /usr/local, paths relative to it.
        login: what the shell prints before its first prompt.
        variables: announcements by environment variable.
    """

    entries: tuple[Entry, ...]
    trees: tuple[str, ...]
    etc: tuple[Entry, ...]
    local: tuple[Entry, ...]
    login: str
    variables: tuple[tuple[str, str], ...]

    @property
    def writable(self) -> tuple[str, ...]:
        """The world's own file systems: where a session can make files."""
        return ("/home", TMP, *self.trees, SHM)


def absolute(path: str, where: str) -> str:
    """``path`` as an absolute path of the world; ``~`` and relative ones start at the home."""
    full = posixpath.normpath(posixpath.join(HOME, path.removeprefix("~/")))
    if "\0" in full or not full.startswith("/") or full.startswith("//") or full == "/":
        raise BadInput(f"not a path of a world: {path!r}", where=where)
    return full


def _octal(mode: str, where: str) -> str:
    if not mode or len(mode) > 4 or set(mode) - set("01234567"):
        raise BadInput(f"mode {mode!r} is not octal", where=where, mend='write it like "0644"')
    return mode.rjust(4, "0")


def lay_out(scenario: Scenario) -> Layout:
    """Turn a bundle into files.

    Raises:
        BadInput: a path or mode that no world can hold.
    """
    where = scenario.id
    files: dict[str, Entry] = {}
    announcement = scenario.announcement
    for fixture in scenario.fixtures:
        entry = _entry(fixture, where)
        files[entry.path] = entry
    if announcement.channel == "file":
        path = absolute(announcement.path or "README", where)
        files[path] = Entry(path, _text(announcement.text), "0644")
    provider = scenario.provider
    local: list[Entry] = [Entry("bin/man", MAN.encode(), "0555")]
    if provider.script:
        path = absolute(provider.path or f"/usr/local/bin/{provider.name}", where)
        script = provider.script
        if not script.startswith("#!"):
            script = f"#!/bin/sh\n{script}"
        program = Entry(path, _text(script), "0755")
        if path.startswith("/usr/local/"):
            local.append(Entry(path.removeprefix("/usr/local/"), program.content, "0555"))
        else:
            files[path] = program
    if provider.man:
        local.append(Entry(f"share/man/{provider.name}", _text(provider.man), "0444"))
    local += [
        Entry(path.removeprefix("/usr/local/"), entry.content, entry.mode)
        for path, entry in files.items()
        if path.startswith("/usr/local/")
    ]
    own = {path: entry for path, entry in files.items() if not path.startswith("/usr/local/")}
    etc = tuple(entry for path, entry in own.items() if path.startswith("/etc/"))
    rest = [entry for path, entry in sorted(own.items()) if not path.startswith("/etc/")]
    return Layout(
        entries=tuple(_with_parents(rest)),
        trees=_trees(rest, where),
        etc=etc,
        local=tuple(local),
        login=_login(scenario),
        variables=(
            ((announcement.variable or "NOTICE", announcement.text.strip()),)
            if announcement.channel == "env"
            else ()
        ),
    )


def _entry(fixture: Fixture, where: str) -> Entry:
    path = absolute(fixture.path, where)
    if fixture.path.endswith("/"):
        mode = "0755" if fixture.mode == "0644" else _octal(fixture.mode, where)
        return Entry(path, None, mode)
    return Entry(
        path, fixture.content.encode("utf-8", "surrogateescape"), _octal(fixture.mode, where)
    )


def _text(text: str) -> bytes:
    return (text if text.endswith("\n") else text + "\n").encode("utf-8", "surrogateescape")


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


def _trees(entries: list[Entry], where: str) -> tuple[str, ...]:
    tops = {entry.path.split("/")[1] for entry in entries} - {"home", "tmp"}
    for entry in entries:
        if entry.path.split("/")[1] in _SYSTEM:
            raise BadInput(
                f"{entry.path} belongs to the system",
                where=where,
                mend="put it under the home, /srv, /opt, /var, /etc or /usr/local",
            )
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


def shell_start(nonce: str, login: str = "/.login") -> str:
    """What the session's shell reads first: nonce prompts, ``panic``, the login text."""
    return (
        f"PS1='\x01{nonce}:$?:$PWD\x02' PS2='\x01{nonce}+\x02'\n"
        "readonly PS1 PS2\n"
        "unset ENV\n"
        "panic() {\n"
        f"printf '%s\\n' \"$*\" 2>/dev/null >{PANIC_FILE}\n"
        f"printf '\\001{nonce}!\\002'\n"
        f"exit {PANIC_STATUS}\n"
        "}\n"
        f"cat {login}\n"
    )

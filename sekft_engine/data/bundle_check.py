"""What a scenario bundle may say: all of it is checked when it is read, before anything runs.

Bundles are data that people exchange, so they are treated as hostile. What is refused here could
never make a sound world; the error names the field and the way out. The sandboxes do not rely on
this alone: they prove the paths and argument lists that they build once more.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.core.errors import BadInput
from sekft_engine.data.world_paths import (
    LOCAL,
    MAN_PAGES,
    NAME_BYTES,
    STANDING,
    STANDING_FILES,
    VARIABLES,
    encode_text,
    refuse_unwritable,
    world_path,
)

if TYPE_CHECKING:
    from sekft_engine.data.scenario import Scenario

#: Files and folders of a bundle together, with the folders that its paths need.
MAX_ENTRIES = 1000
#: What they take on disk, in whole pages: what the smallest file system of a world holds.
MAX_FILE_BYTES = 6 * 1024 * 1024
#: A name, a path or a label.
MAX_LABEL_BYTES = 4096
#: A longer text that is no file: an announcement, the directives, a command.
MAX_TEXT_BYTES = 64 * 1024
#: Checker, program and manual page, each.
MAX_SCRIPT_BYTES = 1024 * 1024
MAX_COMMANDS = 1000
#: Top folders of its own, each a file system with a size.
MAX_TOPS = 8
STANDING_TOPS = frozenset(path.split("/")[1] for path in STANDING)
_PAGE = 4096

#: Variables that mean something to a POSIX shell (XCU 2.5.3): it would obey a notice in them.
_SHELL_VARIABLES = frozenset(
    {"ENV", "IFS", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LINENO", "NLSPATH"}
    | {"OLDPWD", "OPTARG", "OPTIND", "PPID", "PS1", "PS2", "PS4", "PWD", "_"}
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_bundle(scenario: Scenario, where: str) -> None:
    """Check everything that a bundle says.

    Args:
        where: the bundle's file and line, or its id.

    Raises:
        BadInput: a field holds what no world can; names ``where``, the field and the way out.
    """
    _check_texts(scenario, where)
    _check_provider(scenario, where)
    _check_announcement(scenario, where)
    _check_files(scenario, where)


def field(where: str, name: str) -> str:
    """Where ``name`` stands, for an error: ``bundle.json: provider.name``."""
    return f"{where}: {name}"


def _check_texts(scenario: Scenario, where: str) -> None:
    if not scenario.id.strip():
        raise BadInput("empty", where=field(where, "id"), mend="give the bundle a name")
    provider, announcement = scenario.provider, scenario.announcement
    labels = {
        "id": scenario.id,
        "archetype": scenario.archetype,
        "difficulty": scenario.difficulty,
        "provider.name": provider.name,
        "provider.path": provider.path,
        "announcement.path": announcement.path,
        "announcement.variable": announcement.variable,
    }
    for name, text in labels.items():
        _refuse_long(text, MAX_LABEL_BYTES, field(where, name))
        _refuse_odd(text, field(where, name))
    texts = {"announcement.text": announcement.text, "directives": scenario.directives}
    for name, text in texts.items():
        _refuse_long(text, MAX_TEXT_BYTES, field(where, name))
        _refuse_odd(text, field(where, name))
    scripts = {
        "checker": scenario.checker,
        "provider.script": provider.script,
        "provider.man": provider.man,
    }
    for name, text in scripts.items():
        _refuse_long(text, MAX_SCRIPT_BYTES, field(where, name))
    if len(scenario.reference_solution) > MAX_COMMANDS:
        raise BadInput(
            f"{len(scenario.reference_solution)} commands",
            where=field(where, "reference_solution"),
            mend=f"use at most {MAX_COMMANDS}",
        )
    count = len(scenario.reference_solution)
    wrong = [number for number in scenario.mistakes if not 0 <= number < count]
    if wrong:
        raise BadInput(
            f"there is no command {wrong[0]}",
            where=field(where, "mistakes"),
            mend=f"count the commands of reference_solution from 0; there are {count}",
        )
    for number, command in enumerate(scenario.reference_solution):
        place = field(where, f"reference_solution[{number}]")
        _refuse_long(command, MAX_TEXT_BYTES, place)
        _refuse_odd(command, place)


def _check_provider(scenario: Scenario, where: str) -> None:
    provider = scenario.provider
    name = provider.name
    if not is_file_name(name):
        raise BadInput(
            f"{name!r} is not the name of a program",
            where=field(where, "provider.name"),
            mend="give the bare name that is typed, and its place as provider.path",
        )
    if provider.path.endswith("/"):
        raise BadInput(
            f"{provider.path!r} is a folder",
            where=field(where, "provider.path"),
            mend="name the program's file, without / at the end",
        )


def _check_announcement(scenario: Scenario, where: str) -> None:
    announcement = scenario.announcement
    variable = announcement.variable
    if variable and not _VARIABLE.fullmatch(variable):
        raise BadInput(
            f"{variable!r} is not the name of a variable",
            where=field(where, "announcement.variable"),
            mend="use letters, digits and underscores, with no digit first",
        )
    if variable in VARIABLES or variable in _SHELL_VARIABLES:
        raise BadInput(
            f"{variable} has a meaning of its own in every world",
            where=field(where, "announcement.variable"),
            mend="choose another name, such as NOTICE",
        )
    if announcement.path.endswith("/"):
        raise BadInput(
            f"{announcement.path!r} is a folder",
            where=field(where, "announcement.path"),
            mend="name a file, without / at the end",
        )


class _File(NamedTuple):
    """A file or folder of the bundle: its absolute path, the field that it stands in, and its
    content (None of a folder)."""

    path: str
    place: str
    content: str | None


def _files(scenario: Scenario, where: str) -> Iterator[_File]:
    for number, fixture in enumerate(scenario.fixtures):
        place = f"fixtures[{number}]"
        _refuse_odd(fixture.path, field(where, f"{place}.path"))
        path = world_path(fixture.path, field(where, f"{place}.path"))
        octal_mode(fixture.mode, field(where, f"{place}.mode"))
        if path in STANDING and fixture.mode != "0644":
            raise BadInput(
                f"{path!r} stands in every world with a mode of its own",
                where=field(where, f"{place}.mode"),
                mend="leave the mode out, or make a folder in it",
            )
        refuse_unwritable(fixture.content, field(where, f"{place}.content"))
        yield _File(path, place, None if fixture.path.endswith("/") else fixture.content)
    announcement, provider = scenario.announcement, scenario.provider
    if announcement.channel == "file":
        path = world_path(announcement.path or "README", field(where, "announcement.path"))
        yield _File(path, "announcement", announcement.text)
    path = world_path(
        provider.path or f"{LOCAL}/bin/{provider.name}", field(where, "provider.path")
    )
    if provider.script:
        yield _File(path, "provider", provider.script)
    if provider.man:
        yield _File(f"{MAN_PAGES}/{provider.name}", "provider.man", provider.man)


def _check_files(scenario: Scenario, where: str) -> None:
    files = {path: _File(path, "every world", "") for path in STANDING_FILES}
    size = len(encode_text(scenario.checker))
    for file in _files(scenario, where):
        earlier = files.get(file.path, file)
        if file.path in STANDING_FILES and file.content is not None:
            earlier = file  # a bundle may have its own
        files[file.path] = file
        if earlier.content != file.content:
            standing = file.path in STANDING_FILES
            known = "is a file in every world" if standing else f"is in {earlier.place} already"
            raise BadInput(
                f"{file.path!r} {known}",
                where=field(where, file.place),
                mend="choose another name" if standing else "name each file once",
            )
        size += len(encode_text(file.content or "")) // _PAGE * _PAGE + _PAGE
    folders = _folders(files, where)
    entries = len((files.keys() | folders).difference(STANDING, STANDING_FILES))
    if entries > MAX_ENTRIES:
        raise BadInput(
            f"{entries} files and folders",
            where=field(where, "fixtures"),
            mend=f"a world holds {MAX_ENTRIES}: let the provider make the others",
        )
    size += len(folders) * _PAGE
    if size > MAX_FILE_BYTES:
        raise BadInput(
            f"files of {size >> 10} KiB in whole pages",
            where=field(where, "fixtures"),
            mend=f"a world holds {MAX_FILE_BYTES >> 10} KiB: let the provider make large ones",
        )
    tops = {path.split("/")[1] for path in folders} - STANDING_TOPS
    if len(tops) > MAX_TOPS:
        raise BadInput(
            f"{len(tops)} new top folders",
            where=field(where, "fixtures"),
            mend=f"use at most {MAX_TOPS}, or put the files under the home",
        )


def _folders(files: Mapping[str, _File], where: str) -> set[str]:
    """The folders that ``files`` need above them; each must be one, and none a file."""
    folders: set[str] = set()
    for file in files.values():
        if file.content is not None and (file.path in STANDING or file.path.count("/") == 1):
            raise BadInput(
                f"{file.path!r} is a folder in every world",
                where=field(where, file.place),
                mend="name a file in it",
            )
        parent = posixpath.dirname(file.path)
        while parent != "/" and parent not in folders:
            other = files.get(parent)
            if other is not None and other.content is not None:
                raise BadInput(
                    f"{file.path!r} needs {parent!r} as a folder, which is a file in {other.place}",
                    where=field(where, file.place),
                    mend="rename one of the two",
                )
            folders.add(parent)
            parent = posixpath.dirname(parent)
        if file.content is None:
            folders.add(file.path)
    return folders


def is_file_name(name: str) -> bool:
    """Whether ``name`` is one component of a path, and can be typed as a command."""
    return (
        0 < len(encode_text(name)) <= NAME_BYTES
        and "/" not in name
        and name not in (".", "..")
        and not name.startswith("-")
        and not any(map(_is_control, name))
    )


def octal_mode(mode: str, where: str) -> str:
    """``mode`` as four octal digits. Raises BadInput where it is none."""
    if not mode or len(mode) > 4 or set(mode) - set("01234567"):
        raise BadInput(f"mode {mode[:20]!r} is not octal", where=where, mend='write it like "0644"')
    return mode.rjust(4, "0")


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def _refuse_odd(text: str, where: str) -> None:
    """Names, labels and commands are text: they hold no NUL, and no byte that is not UTF-8."""
    if "\0" in text:
        raise BadInput(f"a NUL character at {text.index(chr(0))}", where=where, mend="leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"half a surrogate pair at character {error.start}",
            where=where,
            mend="write the whole character",
        ) from None


def _refuse_long(text: str, most: int, where: str) -> None:
    refuse_unwritable(text, where)
    size = len(encode_text(text))
    if size > most:
        raise BadInput(f"{size} bytes", where=where, mend=f"use at most {most}")

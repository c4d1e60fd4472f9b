"""Kinds of work that no training world has: permissions, links, checksums, and more.

Three others are for validation. A page on the program can be found in most of their worlds, in the
same ways as in training.
"""

from __future__ import annotations

import hashlib

from sekft_engine.factory.part import (
    Desk,
    Page,
    Part,
    content,
    holds,
    reading,
    showing,
    work,
)


@work(
    "checksum",
    "Write the {name} checksum of {source} to {target}",
    "The {name} sum of {source} must go to {target}",
    "Keep the {name} checksum of {source} in {target}",
    "Make the {name} fingerprint of {source}, output in {target}",
)
def checksum(desk: Desk) -> Part:
    source, target = desk.path(), desk.path()
    rows = desk.words(desk.number(2, 4))
    data = content(rows).encode()
    name, program, digest = desk.rng.choice(
        (
            ("MD5", "md5sum", hashlib.md5(data, usedforsecurity=False)),
            ("SHA-1", "sha1sum", hashlib.sha1(data, usedforsecurity=False)),
            ("SHA-256", "sha256sum", hashlib.sha256(data)),
        )
    )
    return Part(
        fields={"source": source, "target": target, "name": name},
        acts=(f"{program} {source} > {target}",),
        files={source: content(rows)},
        checks=(f"grep -q ^{digest.hexdigest()} {target}", holds(source, rows)),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=(f"wc -l {target}",),
        page=Page(program, f"make {name} checksums", (f"{program} IN > OUT",)),
    )


@work(
    "link",
    "Make a symbolic link to {source} under the name {target}",
    "The file {source} needs a symbolic link called {target}",
    "Link {source} under the name {target}, as a symbolic link",
    "Set up a symbolic link for {source}: it is to be called {target}",
    page=Page("ln", "make a symbolic link", ("ln -s FILE LINK",)),
)
def link(desk: Desk) -> Part:
    source, target = desk.path(), desk.folder + desk.names.word()
    rows = desk.words(desk.number(1, 3))
    name = source.rpartition("/")[2]
    same = f'[ "$(readlink -f {target})" = "$(readlink -f {source})" ] && [ -L {target} ]'
    return Part(
        fields={"source": source, "target": target},
        acts=(f"ln -s {name} {target}",),
        files={source: content(rows)},
        checks=(same, holds(source, rows)),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=(f"cat {target}", f"readlink {target}"),
    )


@work(
    "permit",
    "Change the mode of {source} to {mode}",
    "{source} must have the permissions {mode}",
    "Give {source} the mode {mode}",
    "The permissions of {source} are to be {mode}",
    page=Page("chmod", "set the mode of a file", ("chmod MODE FILE",)),
)
def permit(desk: Desk) -> Part:
    source, rows = desk.path(), desk.words(desk.number(1, 3))
    mode = desk.pick(("755", "600", "444", "640", "700"))
    return Part(
        fields={"source": source, "mode": mode},
        acts=(f"chmod {mode} {source}",),
        files={source: content(rows)},
        checks=(f'[ "$(stat -c %a {source})" = {mode} ]', holds(source, rows)),
        source=source,
        looks=(f"stat -c %a {source}", f"ls {source}"),
        verifies=(f"stat -c %a {source}",),
    )


@work(
    "compress",
    "Compress {source} with gzip into {target}",
    "Write a gzip compressed form of {source} to {target}",
    "The gzip form of {source} belongs into {target}",
    "Pack {source} by gzip and store that as {target}",
    page=Page("gzip", "compress a file", ("gzip -c IN > OUT",)),
)
def compress(desk: Desk) -> Part:
    source, rows = desk.path(), desk.words(desk.number(3, 5))
    target = f"{desk.folder}{desk.names.word()}.gz"
    return Part(
        fields={"source": source, "target": target},
        acts=(f"gzip -c {source} > {target}",),
        files={source: content(rows)},
        checks=(f"gzip -dc {target} | cmp -s - {source}", holds(source, rows)),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=(f"gzip -dc {target}", f"ls {target}"),
    )


@work(
    "wrap",
    "Wrap the lines of {source} after {n} characters, result in {target}",
    "No line of {target} may be longer than {n} characters: wrap {source}",
    "Break {source} into lines of {n} characters, output in {target}",
    "Lines of {n} characters at most: make {target} so from {source}",
    page=Page("fold", "wrap lines", ("fold -w WIDTH IN > OUT",)),
)
def wrap(desk: Desk) -> Part:
    source, target = desk.path(), desk.path()
    rows, width = ["".join(desk.words(3)) for _ in range(2)], desk.number(5, 9)
    out = [row[at : at + width] for row in rows for at in range(0, len(row), width)]
    return Part(
        fields={"source": source, "target": target, "n": str(width)},
        acts=(f"fold -w {width} {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, out),),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
    )


@work(
    "divide",
    "Divide {source} into pieces of {n} lines each, whose names begin with {target}",
    "Split {source} after every {n} lines; the pieces are to be called {target} and two letters",
    "Make pieces of {n} lines of {source}, named {target}aa and so on",
    "Pieces of {source} with {n} lines each are needed, their names starting with {target}",
    page=Page("split", "divide a file into pieces", ("split -l LINES FILE PREFIX",)),
)
def divide(desk: Desk) -> Part:
    source, target = desk.path(), f"{desk.folder}{desk.word()}."
    rows, size = desk.words(4), desk.number(1, 2)
    first, second = f"{target}aa", f"{target}ab"
    return Part(
        fields={"source": source, "target": target, "n": str(size)},
        acts=(f"split -l {size} {source} {target}",),
        files={source: content(rows)},
        checks=(
            holds(first, rows[:size]),
            holds(second, rows[size : 2 * size]),
            holds(source, rows),
        ),
        source=source,
        made=(first,),
        looks=reading(source),
        verifies=(f"cat {first}", f"ls {first} {second}", "ls"),
    )


@work(
    "stamp",
    "Set the date of {source} to {date}",
    "Change the time stamp of {source} to {date}",
    "Give {source} the date {date}",
    "Date {source} back to {date}",
    page=Page("touch", "set the date of a file", ("touch -d DATE FILE",)),
)
def stamp(desk: Desk) -> Part:
    source, rows = desk.path(), desk.words(desk.number(1, 3))
    date = f"{desk.number(2001, 2019)}-{desk.number(1, 12):02}-{desk.number(1, 28):02}"
    return Part(
        fields={"source": source, "date": date},
        acts=(f"touch -d {date} {source}",),
        files={source: content(rows)},
        checks=(f'[ "$(date -r {source} +%F)" = {date} ]', holds(source, rows)),
        source=source,
        looks=reading(source),
        verifies=(f"date -r {source} +%F", f"ls -l {source}"),
    )


@work(
    "resize",
    "Cut {source} to {n} bytes",
    "Set the size of {source} to {n} bytes",
    "Make {source} exactly {n} bytes long",
    "Keep only the first {n} bytes of {source}",
    page=Page("truncate", "set the size of a file", ("truncate -s SIZE FILE",)),
)
def resize(desk: Desk) -> Part:
    source, rows, size = desk.path(), desk.words(3), desk.number(4, 12)
    return Part(
        fields={"source": source, "n": str(size)},
        acts=(f"truncate -s {size} {source}",),
        files={source: content(rows)},
        checks=(f'[ "$(wc -c < {source})" -eq {size} ]',),
        source=source,
        looks=(f"wc -c {source}", f"cat {source}"),
        verifies=(f"wc -c {source}",),
    )


@work(
    "mirror",
    "Turn each line of {source} around, last letter first, into {target}",
    "Write the letters of every line of {source} backwards to {target}",
    "{target} gets the lines of {source} with their letters reversed",
    "Mirror the lines of {source} letter by letter, in {target}",
    page=Page("rev", "turn the letters of lines around", ("rev IN > OUT",)),
)
def mirror(desk: Desk) -> Part:
    source, target = desk.path(), desk.path()
    rows = desk.words(desk.number(3, 5))
    return Part(
        fields={"source": source, "target": target},
        acts=(f"rev {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, [row[::-1] for row in rows]),),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
    )


VALIDATION = (stamp, resize, mirror)
ARCHETYPES = (checksum, link, permit, compress, wrap, divide)

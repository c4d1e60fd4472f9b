"""Held-out kinds of work, which no training scenario has: permissions, links, checksums."""

from __future__ import annotations

import hashlib

from sekft_engine.factory.task import Desk, Task, content, holds


def checksum(desk: Desk) -> Task:
    source, target = desk.path(), desk.path()
    rows = desk.text(2, 4)
    name, program, digest = {
        "md5": ("MD5", "md5sum", hashlib.md5(content(rows).encode(), usedforsecurity=False)),
        "sha1": ("SHA-1", "sha1sum", hashlib.sha1(content(rows).encode(), usedforsecurity=False)),
        "sha256": ("SHA-256", "sha256sum", hashlib.sha256(content(rows).encode())),
    }[desk.pick(("md5", "sha1", "sha256"))]
    text = desk.pick(
        (
            f"Write the {name} checksum of {source} to {target}",
            f"The {name} sum of {source}, as {program} prints it, must go to {target}",
            f"Run {program} on {source} and keep what it says in {target}",
            f"Make the {name} fingerprint of {source} with {program}, output in {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"{program} {source} > {target}",),
        files={source: content(rows)},
        checks=(f"grep -q ^{digest.hexdigest()} {target}", holds(source, rows)),
        made=(target,),
    )


def link(desk: Desk) -> Task:
    source, target = desk.path(), desk.folder + desk.names.word()
    rows = desk.text(1, 3)
    name = source.rsplit("/", 1)[-1] if desk.folder else source
    soft = desk.rng.random() < 0.7
    kind, flag = ("symbolic", "-s ") if soft else ("hard", "")
    text = desk.pick(
        (
            f"Make a {kind} link to {source} under the name {target}",
            f"The file {source} needs a {kind} link called {target}",
            f"Link {source} under the name {target}, as a {kind} link",
            f"Set up a {kind} link for {source}: it is to be called {target}",
        )
    )
    same = f'[ "$(readlink -f {target})" = "$(readlink -f {source})" ] && [ -L {target} ]'
    if not soft:
        same = f"[ {target} -ef {source} ] && [ ! -L {target} ]"
    return Task(
        text=text,
        look=source,
        acts=(f"ln {flag}{name if soft else source} {target}",),
        files={source: content(rows)},
        checks=(same, holds(source, rows)),
        made=(target,),
    )


def permit(desk: Desk) -> Task:
    source = desk.path()
    rows = desk.text(1, 3)
    mode, texts = desk.rng.choice(
        [
            (
                "755",
                (
                    f"Make {source} executable: mode 755",
                    f"Everybody may run {source}, set its mode to 755",
                    f"Change the mode of {source} to 755",
                    f"{source} must have the permissions 755",
                ),
            ),
            (
                "600",
                (
                    f"Only the owner may read and write {source}: set mode 600",
                    f"Make {source} private, mode 600",
                    f"Change the permissions of {source} to 600",
                    f"{source} must have mode 600",
                ),
            ),
            (
                "444",
                (
                    f"Make {source} read-only for all: mode 444",
                    f"Nobody may write {source}, set its mode to 444",
                    f"Change the permissions of {source} to 444",
                    f"{source} must have mode 444",
                ),
            ),
        ]
    )
    return Task(
        text=desk.pick(texts),
        look=source,
        acts=(f"chmod {mode} {source}",),
        files={source: content(rows)},
        checks=(f'[ "$(stat -c %a {source})" = {mode} ]', holds(source, rows)),
    )

"""A bundle is data that people exchange: it must say no more than a bundle may."""

from __future__ import annotations

import io
import json
import posixpath
import re
import resource
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput
from sekft_engine.data.bundle_check import MAX_ENTRIES
from sekft_engine.data.scenario import Announcement, Fixture, Provider, Scenario
from sekft_engine.episodes.choose import scenario_digest
from sekft_engine.factory import admit
from sekft_engine.worlds import Limits, WorldBroken, open_world
from sekft_engine.worlds.bubblewrap.holder import File, HolderPlan, etc_bound, plan
from sekft_engine.worlds.bubblewrap.launcher import Bubblewrap
from sekft_engine.worlds.container.engines import ContainerEngine
from sekft_engine.worlds.container.start import furniture, run_command
from sekft_engine.worlds.shell.arguments import mount, separated, terminated
from sekft_engine.worlds.shell.box import BoxSpec
from sekft_engine.worlds.trees import tree
from sekft_engine.worlds.trees.layout import lay_out
from sekft_engine.worlds.trees.userland import find_userland
from tests.fuzzing import fuzz
from tests.hostile import hostile_bundles, hostile_text
from tests.worlds.conftest import Opener, scenario

BWRAP = Bubblewrap("/usr/bin/bwrap", "", "0.11")
#: How many words follow each option of bubblewrap that a world is started with.
WORDS = {
    **dict.fromkeys(["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc"], 0),
    **dict.fromkeys(["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"], 0),
    **dict.fromkeys(["--disable-userns", "--clearenv", "--new-session", "--as-pid-1"], 0),
    **dict.fromkeys(["--uid", "--gid", "--cap-drop", "--size", "--tmpfs", "--proc", "--dev"], 1),
    **dict.fromkeys(["--dir", "--perms", "--hostname", "--remount-ro", "--chdir"], 1),
    **dict.fromkeys(["--ro-bind", "--bind", "--file", "--chmod", "--symlink", "--setenv"], 2),
}


def order(bundle: Scenario) -> BoxSpec:
    return BoxSpec(
        layout=lay_out(bundle),
        checker=bundle.checker,
        userland=find_userland(),
        limits=Limits(),
        nonce="0123456789abcdef",
        seal="fedcba9876543210" * 2,
    )


def options(words: list[str]) -> list[tuple[str, ...]]:
    """Arguments as bubblewrap reads them: an option, then the words that belong to it."""
    found = []
    at = 0
    while at < len(words):
        count = WORDS[words[at]]  # a word that is no known option fails here
        found.append(tuple(words[at : at + 1 + count]))
        at += 1 + count
    return found


def outer(planned: HolderPlan) -> tuple[list[tuple[str, ...]], dict[str, bytes]]:
    """The holder's options, and the files that it is given."""
    words, files = [], {}
    for part in planned.arguments:
        if isinstance(part, File):
            assert part.path not in files, "a file is given twice"
            files[part.path] = part.content
            words.append("FILE")
        else:
            words.append(part)
    passed = terminated(words).split(b"\0")[:-1]
    return options([word.decode("utf-8", "surrogateescape") for word in passed]), files


def inner(listing: bytes) -> list[tuple[str, ...]]:
    """The options of a sandbox within the holder."""
    words = listing.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return options(words)


def accepted(raw: dict[str, Any]) -> Scenario | None:
    """The bundle, or None where it is refused, with its file, its field and the way out."""
    refused = None
    try:
        return Scenario.from_json(raw, "some/bundle.json")
    except BadInput as error:
        refused = error
    assert str(refused.where).startswith("some/bundle.json")
    assert refused.mend
    return None


def clashes(bundle: Scenario) -> bool:
    """Whether this machine's own userland has something in the way, which is told by name."""
    try:
        etc_bound(lay_out(bundle), find_userland())
    except BadInput as error:
        refused = error
    else:
        return False
    assert refused.mend
    assert "/etc" in refused.what
    return True


def is_normal(path: str, *roots: str) -> bool:
    """Whether ``path`` lies below one of ``roots`` as it stands, with nothing to resolve."""
    return path == posixpath.normpath(path) and any(path.startswith(f"{root}/") for root in roots)


@fuzz(400)
@given(raw=hostile_bundles())
def test_a_bundle_adds_files_and_folders_to_the_sandbox_and_nothing_else(
    raw: dict[str, Any],
) -> None:
    bundle = accepted(raw)
    if bundle is None or clashes(bundle):
        return
    plain = plan(order(scenario()), bwrap=BWRAP, own=find_userland())
    planned = plan(order(bundle), bwrap=BWRAP, own=find_userland())
    given_options, files = outer(planned)
    plain_options, plain_files = outer(plain)
    assert planned.command == plain.command

    more = Counter(given_options) - Counter(plain_options)
    assert not Counter(plain_options) - Counter(given_options)
    trees = [f"/world{tree}" for tree in lay_out(bundle).trees]
    assert more == Counter(
        [("--tmpfs", tree) for tree in trees]
        + [("--perms", "0755")] * len(trees)
        + [("--size", str(Limits().other_bytes))] * len(trees)
    )
    assert files.keys() == plain_files.keys()
    assert files["/w/filter"] == plain_files["/w/filter"]
    assert files["/w/sh"] == plain_files["/w/sh"]
    assert files["/w/checker"] == bundle.checker.encode("utf-8", "surrogateescape")
    with tarfile.open(fileobj=io.BytesIO(files["/w/in/files.tar"])) as archive:
        for member in archive.getmembers():
            assert member.isreg() or member.isdir()
            assert is_normal(f"/{member.name}", "/world", "/w/local", "/w/etc")


@fuzz(400)
@given(raw=hostile_bundles())
def test_a_bundle_adds_its_own_trees_to_the_session_and_nothing_else(raw: dict[str, Any]) -> None:
    bundle = accepted(raw)
    if bundle is None or clashes(bundle):
        return
    layout = lay_out(bundle)
    own = [("--bind", f"/w{each.path}", each.path) for each in etc_bound(layout, find_userland())]
    own += [("--bind", f"/world{tree}", tree) for tree in layout.trees]
    _, plain = outer(plan(order(scenario()), bwrap=BWRAP, own=find_userland()))
    _, files = outer(plan(order(bundle), bwrap=BWRAP, own=find_userland()))
    for sandbox in ("/w/session", "/w/checking"):
        found, expected = Counter(inner(files[sandbox])), Counter(inner(plain[sandbox]))
        assert found - expected == Counter(own)
        assert not expected - found


@fuzz(400)
@given(raw=hostile_bundles())
def test_a_bundle_adds_sized_file_systems_to_a_container_and_nothing_else(
    raw: dict[str, Any],
) -> None:
    bundle = accepted(raw)
    if bundle is None:
        return
    engine = ContainerEngine("podman", ("podman",))
    mine = run_command(engine, "image", "name", order(bundle))
    plain = run_command(engine, "image", "name", order(scenario(fixtures=())))

    def without_memory(words: list[str]) -> list[str]:
        return [
            word
            for before, word in zip(["", *words], words, strict=False)
            if "memory" not in before
        ]

    more = Counter(without_memory(mine)) - Counter(without_memory(plain))
    tmpfs = re.compile(r"/[A-Za-z0-9_][A-Za-z0-9._-]*:rw,exec,nosuid,nodev,size=\d+,mode=0755")
    for word, count in more.items():
        assert word == "--tmpfs" or (tmpfs.fullmatch(word) and count == 1)
    assert not Counter(without_memory(plain)) - Counter(without_memory(mine))
    try:
        furnished = b"".join(furniture(order(bundle)))
    except BadInput as error:
        assert "containers have" in error.what  # noqa: PT017 - and nothing was started
        return
    for kind, parts in frames(furnished):
        if kind in "DF":
            path = parts[0].decode("utf-8", "surrogateescape")
            roots = ("/home", "/tmp", "/etc", "/usr/local", *lay_out(bundle).trees)
            assert path in roots or is_normal(path, *roots)


def frames(data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Frames as a keeper reads them."""
    while data:
        kind, size = chr(data[0]), int.from_bytes(data[1:5], "big")
        load, data = data[5 : 5 + size], data[5 + size :]
        parts = []
        while load:
            length = int.from_bytes(load[:4], "big")
            parts.append(load[4 : 4 + length])
            load = load[4 + length :]
        yield kind, parts


@fuzz(60)
@given(raw=hostile_bundles())
def test_a_hostile_world_is_a_world_like_any_other(raw: dict[str, Any], tmp_path: Path) -> None:
    """Whatever a bundle says, its session has no rights and no network, the host stays as it was,
    and a checker that fails is never passed over."""
    canary = tmp_path / "canary"
    canary.mkdir(exist_ok=True)
    (canary / "file").write_text("untouched")
    before = tree.digest(tmp_path)
    bundle = accepted(raw | {"checker": "echo judged; exit 1"})
    if bundle is None or clashes(bundle):
        return
    try:
        with open_world(bundle, sandbox="bubblewrap") as world:
            # Its own program of that name may answer instead, as in any world: so by path.
            facts = world.run("/usr/bin/cat /proc/self/status /proc/net/dev").output
            verdict = world.check()
    except WorldBroken as error:
        pytest.fail(f"an accepted bundle makes no world: {error}")
    assert not verdict.passed
    assert "judged" in verdict.output
    assert re.search(r"^CapEff:\t0+$", facts, re.MULTILINE), facts
    assert re.search(r"^CapBnd:\t0+$", facts, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", facts, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", facts, re.MULTILINE)
    networks = re.findall(r"^ *(\w+):", facts.partition("Inter-|")[2], re.MULTILINE)
    assert networks == ["lo"]
    assert tree.digest(tmp_path) == before


# -- the cases that were seen to work, and their like ------------------------------------------


def changed(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "plain",
        "provider": {"name": "quill", "man": "QUILL\n"},
        "announcement": {"channel": "motd", "text": "quill knows"},
        "fixtures": [{"path": "a", "content": "x"}],
        "checker": "exit 1",
        "reference_solution": ["true", "exit"],
    }
    return plain | changes


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"provider": {"name": "m\0--ro-bind\0/\0/w/local/h", "man": "x"}}, "provider.name"),
        ({"provider": {"name": "m\0--share-net", "man": "x"}}, "provider.name"),
        ({"provider": {"name": "../../../checker", "man": "exit 0"}}, "provider.name"),
        ({"provider": {"name": "../../../filter", "man": "x"}}, "provider.name"),
        ({"provider": {"name": "..", "man": "x"}}, "provider.name"),
        ({"provider": {"name": "-x", "man": "x"}}, "provider.name"),
        ({"provider": {"name": "n" * 256, "man": "x"}}, "provider.name"),
        ({"provider": {"name": "q", "path": "/w/checker", "script": "x"}}, "provider.path"),
        ({"provider": {"name": "q", "path": "bin/", "script": "x"}}, "provider.path"),
        ({"provider": {"name": "q", "script": "\ud800"}}, "provider.script"),
        ({"announcement": {"channel": "env", "text": "x\0--cap-add\0ALL"}}, "announcement.text"),
        ({"announcement": {"channel": "env", "variable": "A=B"}}, "announcement.variable"),
        ({"announcement": {"channel": "env", "variable": "A\0B"}}, "announcement.variable"),
        ({"announcement": {"channel": "env", "variable": "PATH"}}, "announcement.variable"),
        ({"announcement": {"channel": "env", "variable": "PS1"}}, "announcement.variable"),
        ({"announcement": {"channel": "file", "path": "x/"}}, "announcement.path"),
        ({"announcement": {"channel": "motd", "text": "x" * 70_000}}, "announcement.text"),
        ({"fixtures": {"a": "x", "a/b": "y"}}, "fixtures[1]"),
        ({"fixtures": {f"f{n}": "x" for n in range(MAX_ENTRIES + 1)}}, "fixtures"),
        ({"fixtures": {"/".join("abcdefghij" * 4): "x"}}, "fixtures[0].path"),
        ({"fixtures": {"big": "x" * 7_000_000}}, "fixtures"),
        ({"fixtures": {f"/top{n}/x": "x" for n in range(9)}}, "fixtures"),
        ({"fixtures": {"/srv:size=99g/x": "x"}}, "fixtures[0].path"),
        ({"fixtures": {"/-delete/x": "x"}}, "fixtures[0].path"),
        ({"fixtures": {"/.start/x": "x"}}, "fixtures[0].path"),
        ({"fixtures": {"../../w/checker": "exit 0"}}, "fixtures[0].path"),
        ({"fixtures": {"/etc": "x"}}, "fixtures[0].path"),
        ({"fixtures": {"/home/user": "x"}}, "fixtures[0]"),
        ({"fixtures": {"/srv": "x"}}, "fixtures[0]"),
        ({"fixtures": [{"path": "a", "mode": "rwx"}]}, "fixtures[0].mode"),
        ({"fixtures": [{"path": "a", "content": 5}]}, "$.fixtures[0].content"),
        ({"fixtures": [{"path": "a"}, {"path": "./a", "content": "y"}]}, "fixtures[1]"),
        ({"checker": "\ud800"}, "checker"),
        ({"checker": "x" * 2_000_000}, "checker"),
        ({"reference_solution": ["a\0b"]}, "reference_solution[0]"),
        ({"reference_solution": ["x"] * 2000}, "reference_solution"),
        ({"id": " "}, "id"),
        ({"announcement": {"channel": "env", "variable": "_"}}, "announcement.variable"),
        ({"fixtures": {"/etc/passwd/x": "x"}}, "fixtures[0]"),
        ({"fixtures": {"/usr/local/bin/man/x": "x"}}, "fixtures[0]"),
        ({"fixtures": {"/usr/local/.start": "x"}}, "fixtures[0].path"),
        ({"fixtures": [{"path": "/tmp/", "mode": "0000"}]}, "fixtures[0].mode"),
        ({"note": json.loads("[" * 300 + "]" * 300)}, "levels deep"),
        ({"schema": [[]] * 1000}, "schema"),
    ],
)
def test_a_hostile_field_is_named_with_its_file_and_the_way_out(
    fields: dict[str, Any],
    named: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps(changed(**fields)))
    for command in (["factory", "rollout", str(tmp_path)], ["factory", "admit", str(tmp_path)]):
        assert run(command) == 2
        said = capsys.readouterr().err
        assert f"{file}" in said
        assert named in said
        assert said.endswith(")\n"), "the way out is missing"
        assert said.count("\n") == 1


def test_the_gate_refuses_a_hostile_bundle_before_anything_of_it_runs() -> None:
    bundle = scenario(provider=Provider(name="../../../checker", man="exit 0"), checker="exit 1")
    (answer,) = admit([bundle])
    assert not answer.admitted
    assert "provider.name" in answer.reason
    with pytest.raises(BadInput, match=r"provider\.name"):
        open_world(bundle)


def test_as_many_files_as_a_bundle_may_have_stand_in_a_world(opener: Opener) -> None:
    fixtures = tuple(Fixture(path=f"f{number:04d}", content="x") for number in range(990))
    world = opener(fixtures=fixtures, provider=Provider(name="quill"))
    assert world.run("ls | wc -l").output.split() == ["990"]


def test_many_worlds_of_many_files_need_few_descriptors(opener: Opener) -> None:
    fixtures = tuple(Fixture(path=f"f{number:04d}", content="x") for number in range(900))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 120, hard)
    )
    try:
        worlds = [opener(fixtures=fixtures) for _ in range(3)]
        assert [world.run("ls f* | wc -l").output.strip() for world in worlds] == ["900"] * 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_the_userland_or_the_engine_has_itself_is_refused_by_name(
    opener: Opener,
) -> None:
    for path in ("/etc/hosts", "/etc/alternatives/awk", "/etc/ld.so.conf.d/new.conf"):
        try:
            world = opener(fixtures=(Fixture(path=path, content="mine\n"),))
        except BadInput as error:
            refused = error
            assert path in refused.what
            assert str(refused.where).startswith("plain: fixtures")
            assert refused.mend
        else:
            assert world.run(f"cat {path}").output == "mine\n"


def test_fields_that_sekft_does_not_know_take_no_others_place(tmp_path: Path) -> None:
    raw = changed(extra={"checker": "exit 0", "id": "other", "schema": 9}, note="kept")
    bundle = Scenario.from_json(raw, "b.json")
    written = bundle.to_json()
    assert (written["checker"], written["id"], written["schema"]) == ("exit 1", "plain", 1)
    assert written["note"] == "kept"
    other = Scenario.from_json(raw | {"checker": "exit 2"}, "b.json")
    assert scenario_digest(bundle) != scenario_digest(other)


def test_folders_of_a_bundle_may_stand_in_etc_and_usr_local(opener: Opener) -> None:
    world = opener(
        fixtures=(
            Fixture(path="/etc/app/", mode="0500"),
            Fixture(path="/etc/app/app.conf", content="a=1\n"),
            Fixture(path="/etc/empty/"),
            Fixture(path="/usr/local/share/words/"),
            Fixture(path="/usr/local/share/words/list", content="plum\n"),
        )
    )
    seen = world.run("stat -c '%F %a' /etc/app /etc/empty /usr/local/share/words; cat /etc/app/*")
    assert seen.output == "directory 500\ndirectory 755\ndirectory 755\na=1\n"
    assert world.run("cat /usr/local/share/words/list").output == "plum\n"
    world.run("echo b=2 > /etc/empty/new")
    assert world.run("cat /etc/empty/new").output == "b=2\n"


def test_a_variable_of_a_bundle_cannot_lift_the_limits(opener: Opener) -> None:
    """The programs that set limits up must not obey it (``LD_PRELOAD`` would run its code)."""
    world = opener(
        announcement=Announcement(channel="env", variable="LD_PRELOAD", text="/home/user/x.so"),
        checker='[ "$LD_PRELOAD" = /home/user/x.so ]',
    )
    said = world.run("echo $LD_PRELOAD; ulimit -n").output
    assert said.split("\n")[-3:] == ["/home/user/x.so", "128", ""]
    assert world.check().passed


def test_a_variable_holds_its_text_as_it_is(opener: Opener) -> None:
    text = "a 'b' \"c\" $(exit 3) `exit 4` \\\nnext=line; ä"
    world = opener(announcement=Announcement(channel="env", variable="FOO", text=text))
    assert world.run('printf %s "$FOO"').output == text
    assert "FOO" in world.run("env").output


# -- lists that other programs split ------------------------------------------------------------


@given(hostile_text(), hostile_text())
@example("a\0b", "c")
def test_a_joined_list_is_split_into_the_same_parts(first: str, second: str) -> None:
    try:
        joined = terminated([first, second])
    except BadInput:
        assert "\0" in first + second or any("\ud800" <= c <= "\udc7f" for c in first + second)
    else:
        parts = joined.split(b"\0")
        assert [part.decode("utf-8", "surrogateescape") for part in parts] == [first, second, ""]
    for separator in (",", ":", "\n"):
        try:
            assert separated(separator, [first, second]).split(separator) == [first, second]
        except BadInput:
            assert {separator, "\0"} & set(first + second) or "\ud800" in first + second


def test_mount_options_cannot_be_smuggled_into_a_path() -> None:
    assert mount("/srv", "rw", "size=1") == "/srv:rw,size=1"
    for path in ("/srv:exec", "/srv,exec", "/s\0rv"):
        with pytest.raises(BadInput):
            mount(path, "rw")

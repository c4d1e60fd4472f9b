"""Userlands: pinned, checked, told apart, and never confused with each other."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import tarfile
from pathlib import Path

import msgspec
import pytest

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.data.scenario import Fixture
from sekft_engine.evaluation.comparable import unlike
from sekft_engine.worlds import Limits, open_world
from sekft_engine.worlds.container.start import furniture
from sekft_engine.worlds.shell.box import BoxSpec
from sekft_engine.worlds.trees import debian, tree, userlands
from sekft_engine.worlds.trees.layout import lay_out
from sekft_engine.worlds.trees.userland import find_userland
from tests.worlds.conftest import Opener, scenario

SETUPS = ("bubblewrap/debian", "podman/debian", "docker/debian")


def package(path: Path, files: dict[str, str], links: dict[str, str] | None = None) -> str:
    """A small .deb, and its digest."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o4755 if "/bin/" in name else 0o600
            archive.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    body = lzma.compress(data.getvalue())
    out = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.xz", body)):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    return hashlib.sha256(out).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path) -> tuple[str, debian.Lock]:
    """A mirror with one package, and the list that pins it."""
    path = tmp_path / "mirror" / "debian" / "pool" / "a_1_amd64.deb"
    files = {
        "./bin/tool": "#!/bin/sh\n",
        "./usr/share/doc/a/copyright": "x",
        "./usr/share/man/de/man1/tool.1.gz": "x",
        "./usr/share/man/man1/tool.1.gz": "x",
        "./etc/tool.conf": "x",
    }
    digest = package(path, files)
    pinned = debian.Package("debian", "pool/a_1_amd64.deb", path.stat().st_size, digest)
    return f"file://{tmp_path}/mirror", debian.Lock("small", (pinned,))


def quiet(*_: object) -> None:
    pass


def test_packages_become_a_tree_without_root_scripts_or_setuid(
    tmp_path: Path, mirror: tuple[str, debian.Lock]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    debian.build(root, tmp_path / "debs", lock=mirror[1], mirror=mirror[0], progress=quiet)
    tool = root / "usr/bin/tool"
    assert tool.stat().st_mode & 0o7777 == 0o755
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "etc/tool.conf").stat().st_mode & 0o7777 == 0o644
    assert (root / "usr/share/man/man1/tool.1.gz").exists()
    assert not (root / "usr/share/doc").exists()
    assert not (root / "usr/share/man/de").exists()


def test_the_same_packages_give_the_same_digest_and_another_tree_is_refused(
    tmp_path: Path, mirror: tuple[str, debian.Lock]
) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        debian.build(
            tmp_path / name, tmp_path / "debs", lock=mirror[1], mirror=mirror[0], progress=quiet
        )
        digests.append(tree.digest(tmp_path / name))
    assert digests[0] == digests[1]
    (tmp_path / "three").mkdir()
    other = debian.Lock("small", mirror[1].packages, "0" * 64)
    with pytest.raises(BadInput, match="not as the pinned"):
        debian.build(
            tmp_path / "three", tmp_path / "debs", lock=other, mirror=mirror[0], progress=quiet
        )


def test_a_package_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, mirror: tuple[str, debian.Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "ARCHIVE", "file:///nowhere")
    package(tmp_path / "mirror/debian/pool/a_1_amd64.deb", {"./bin/tool": "other"})
    with pytest.raises(Unavailable, match="not the pinned content"):
        debian.fetch(mirror[1], tmp_path / "debs", mirror[0], quiet)
    assert not list((tmp_path / "debs").iterdir())


def test_what_was_fetched_before_is_not_fetched_again(
    tmp_path: Path, mirror: tuple[str, debian.Lock]
) -> None:
    debian.fetch(mirror[1], tmp_path / "debs", mirror[0], quiet)
    debian.fetch(mirror[1], tmp_path / "debs", "file:///nowhere", quiet)
    assert len(list((tmp_path / "debs").iterdir())) == 1


def test_what_is_no_mirror_is_refused(tmp_path: Path, mirror: tuple[str, debian.Lock]) -> None:
    with pytest.raises(BadInput, match="not a mirror"):
        debian.fetch(mirror[1], tmp_path / "debs", "ftp://example.org/debian", quiet)


def test_a_mirror_that_has_nothing_is_named_as_it_was_written(
    tmp_path: Path, mirror: tuple[str, debian.Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "ARCHIVE", "file:///nowhere/{archive}")
    with pytest.raises(Unavailable) as told:
        debian.fetch(mirror[1], tmp_path / "debs", "file:///{mine}", quiet)
    assert "file:///{mine}/debian/pool/" in str(told.value)
    assert "file:///nowhere/debian/pool/" in str(told.value)


def test_a_machine_without_pinned_packages_is_told_so() -> None:
    with pytest.raises(Unavailable, match="no packages are pinned for vax"):
        debian.read_lock("vax")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a page of an error", "is no Debian package"), (b"!<arch>\n", "holds no data")],
)
def test_a_package_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mirror" / "debian" / "pool" / "a_1_amd64.deb"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    lock = debian.Lock(
        "small", (debian.Package("debian", "pool/a_1_amd64.deb", len(content), digest),)
    )
    (tmp_path / "root").mkdir()
    with pytest.raises(BadInput, match=said):
        debian.build(
            tmp_path / "root", tmp_path / "debs", lock=lock, mirror=f"file://{tmp_path}/mirror",
            progress=quiet,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["../out", "a/../../out"])
def test_an_archive_cannot_write_outside(tmp_path: Path, name: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    data.seek(0)
    (tmp_path / "root").mkdir()
    with pytest.raises(BadInput, match="outside"):
        tree.unpack(data, tmp_path / "root", "image")


def image(root: Path, *entries: tuple[str, str]) -> None:
    """Unpack an image of links (``name``, where it leads), folders and files (where it is "")."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, target in entries:
            member = tarfile.TarInfo(name)
            member.mode = 0o777
            if target:
                member.type, member.linkname = tarfile.SYMTYPE, target
            elif name.endswith("/"):
                member.type = tarfile.DIRTYPE
            archive.addfile(member)
    data.seek(0)
    root.mkdir(exist_ok=True)
    tree.unpack(data, root, "image")


def private(folder: Path) -> tuple[str, str]:
    """A folder that no image may change, and how it looks."""
    (folder / "sub").mkdir(parents=True)
    (folder / "passwd").write_text("mine")
    for path in (folder, folder / "sub", folder / "passwd"):
        path.chmod(0o700)
    return tree.digest(folder), oct(folder.stat().st_mode)


DEEP = "/".join("d" for _ in range(60))


@pytest.mark.parametrize(
    "names",
    [
        ["way", "way/file"],
        ["way", "way/"],
        ["way", "way/sub/"],
        ["way", "way/passwd"],
        [f"{DEEP}/way", f"{DEEP}/way/file"],
        [f"{DEEP}/way", f"{DEEP}/way/sub/"],
        ["etc"],
        ["usr"],
        ["home"],
        ["tmp"],
        ["usr/", "usr/bin", "usr/bin/mawk"],
        ["usr/", "usr/local"],
    ],
)
def test_an_images_links_are_its_own_and_never_this_machines(
    tmp_path: Path, names: list[str]
) -> None:
    outside = tmp_path / "outside"
    before = private(outside)
    links = {"way", f"{DEEP}/way", "etc", "usr", "home", "tmp", "usr/bin", "usr/local"}
    image(tmp_path / "root", *((name, str(outside) if name in links else "") for name in names))
    debian.finish(tmp_path / "root")
    assert (tree.digest(outside), oct(outside.stat().st_mode)) == before


def test_links_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too many links"):
        image(tmp_path / "root", ("a", "b"), ("b", "a"), ("a/file", ""))


def test_a_container_is_given_an_images_links_and_not_what_they_lead_to_here(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key=plum")
    root = tmp_path / "root"
    image(root, ("etc/", ""), ("etc/app.conf", str(secret)), ("etc/plain", ""))
    bundle = scenario(fixtures=(Fixture(path="/etc/mine", content="x"),))
    order = BoxSpec(
        layout=lay_out(bundle),
        checker="true",
        userland=msgspec.structs.replace(find_userland(), root=str(root)),
        limits=Limits(),
        nonce="n",
        seal="s",
    )
    given = b"".join(furniture(order))
    assert b"plum" not in given
    assert str(secret).encode() in given, "the link itself is kept"
    (root / "etc").rename(root / "old")
    (root / "etc").symlink_to(tmp_path)
    assert b"plum" not in b"".join(furniture(order))


def test_a_userland_that_is_not_built_is_named_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKFT_USERLANDS", str(tmp_path))
    with pytest.raises(Unavailable, match="sekft worlds build"):
        open_world(scenario(), sandbox="bubblewrap", userland="debian")
    with pytest.raises(Unavailable, match="no userland 'other'"):
        userlands.choose("other")
    with pytest.raises(BadInput, match="no userland is called"):
        userlands.choose("../x")


def test_a_userland_that_was_changed_is_not_used(opener: Opener) -> None:
    opener().close()
    [built] = [one for one in userlands.built() if one.name == "debian"]
    path = Path(built.path) / "etc" / "host.conf"
    before = path.read_bytes(), path.stat()
    userlands._tree.cache_clear()
    try:
        path.write_text("changed\n")
        with pytest.raises(Unavailable, match="changed since it was built"):
            opener()
        assert "digest" in userlands.verify(built)
    finally:
        path.write_bytes(before[0])
        os.utime(path, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
        userlands._tree.cache_clear()
    assert userlands.verify(built) == ""


def test_the_debian_world_is_debian_wherever_it_runs(opener: Opener) -> None:
    world = opener()
    assert world.userland.label.startswith("debian:")
    assert world.run("cat /etc/debian_version").output.startswith("12.")
    assert "ls - list directory contents" in world.run("man ls").output
    assert world.run("echo 2+3 | bc; awk 'BEGIN{print 7}'; id -un").output == "5\n7\nuser\n"
    names = set(world.run("ls /").output.split())
    assert {"bin", "etc", "home", "tmp", "usr", "var"} <= names
    assert "w" not in names


def test_containers_refuse_the_hosts_programs() -> None:
    with pytest.raises((BadInput, Unavailable)):
        open_world(scenario(), sandbox="podman", userland="host")


def test_scores_of_other_userlands_are_not_of_one_kind() -> None:
    here = {"userland": "host:1", "dialect": {"name": "a"}, "step_cap": 12, "turn_tokens": 64}
    assert unlike(here, dict(here)) == []
    assert "other programs" in unlike(here, here | {"userland": "debian:2"})[0]
    assert unlike(here, {"dialect": {"name": "a"}, "step_cap": 12, "turn_tokens": 64})
    assert unlike({}, {})


def test_evals_of_other_userlands_are_compared_only_when_told(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = tmp_path / "b"
    bundles.mkdir()
    (bundles / "one.json").write_text(json.dumps(scenario().to_json()))
    words = ["eval", "--base", str(tiny_base), "--scenarios", str(bundles), "-q", "--n", "1"]
    words += ["--step-cap", "1", "--turn-tokens", "2"]
    runs = [str(tmp_path / name) for name in ("host", "again", "other")]
    for out in runs[:2]:
        assert run([*words, "--userland", "host", "--out", out]) == 0
    assert json.loads((tmp_path / "host/run.json").read_text())["about"]["userland"].startswith(
        "host:"
    )
    about = (tmp_path / "again/run.json").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/run.json").write_text(about.replace('"host:', '"debian:'))
    (tmp_path / "other/episodes").symlink_to(tmp_path / "again/episodes")
    capsys.readouterr()
    assert run(["runs", "compare", *runs[:2]]) == 0
    assert "against" in capsys.readouterr().out
    assert run(["runs", "compare", runs[0], runs[2]]) == 2
    assert "other programs stand in their worlds" in capsys.readouterr().err
    assert run(["runs", "compare", runs[0], runs[2], "--anyway"]) == 0
    assert "NOT OF ONE KIND" in capsys.readouterr().out


def test_the_command_lists_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worlds", "list", "--json"]) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["userlands"]]
    assert names[0] == "host"
    assert run(["worlds", "check", "--sandbox", "bubblewrap", "--json"]) == 0
    [backend] = json.loads(capsys.readouterr().out)["sandboxes"]
    assert backend["ok"]
    assert backend["holds"]["memory"]
    assert run(["worlds", "check", "--sandbox", "chroot"]) == 2

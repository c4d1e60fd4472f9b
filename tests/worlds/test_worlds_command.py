"""``sekft worlds``: building userlands, and what a person reads of sandboxes."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekft_engine.cli.main import run as sekft
from sekft_engine.core.errors import Unavailable
from sekft_engine.worlds.trees import userlands

#: What a userland needs at least.
PROGRAMS = ("sh", "dash", "prlimit", "setsid", "env", "perl")


def archive(path: Path, names: tuple[str, ...]) -> Path:
    """The file system of an image with programs of these names."""
    with tarfile.open(path, "w") as out:
        for name in names:
            member = tarfile.TarInfo(f"usr/bin/{name}")
            member.size, member.mode = 10, 0o755
            out.addfile(member, io.BytesIO(b"#!/bin/sh\n"))
    return path


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of images, NAME.tar, for a program that stands for podman: it knows what is in the
    folder, and writes down which containers it has removed."""
    images = tmp_path / "images"
    images.mkdir()
    archive(images / "full.tar", PROGRAMS)
    archive(images / "bare.tar", ("sh",))
    (images / "torn.tar").write_bytes((images / "full.tar").read_bytes()[:700])
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f"cd {images}\n"
        'case "$1" in\n'
        '  create) test -e "${2%:*}.tar" || { echo "Error: no image $2" >&2; exit 125; }\n'
        '          echo "Trying the registry" >&2; echo "${2%:*}" ;;\n'
        '  export) cat "$2.tar" ;;\n'
        '  rm) echo "$3" >> removed ;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    (tmp_path / "bin" / "cat").symlink_to("/usr/bin/cat")
    monkeypatch.setenv("PATH", str(program.parent))
    # Not in pytest's own folder, which the user that root's worlds run under cannot enter.
    with tempfile.TemporaryDirectory(prefix="sekft-") as place:
        Path(place).chmod(0o755)
        monkeypatch.setenv("SEKFT_USERLANDS", place)
        yield images


def test_a_userland_is_made_of_an_image_and_listed(
    engine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sekft(["worlds", "build", "--from-image", "example.org/full:12"]) == 2, "not its name"
    capfd.readouterr()
    assert sekft(["worlds", "build", "--from-image", "full:12"]) == 0
    [built] = userlands.built()
    assert built.name == "full-12"
    out = capfd.readouterr().out
    assert out.startswith(f"full-12:{built.digest[:12]}  0 MiB in {built.entries} entries  ")
    assert (Path(built.path) / "usr/bin/dash").is_file()
    assert userlands.choose("full-12").label == f"full-12:{built.digest[:12]}"
    assert (engine / "removed").read_text() == "full\n", "the container is not left behind"

    assert sekft(["worlds", "list"]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert listed[0].startswith("host:")
    assert listed[1] == f"full-12:{built.digest[:12]}  full:12  {built.path}"


def test_a_userland_that_is_built_again_takes_the_place_of_the_old_one(
    engine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["worlds", "build", "--from-image", "full", "--name", "mine", "--json"]
    assert sekft(words) == 0
    first = json.loads(capfd.readouterr().out)
    archive(engine / "full.tar", (*PROGRAMS, "awk"))
    assert sekft([*words, "--engine", "podman"]) == 0
    second = json.loads(capfd.readouterr().out)
    assert first["path"] == second["path"]
    assert first["digest"] != second["digest"]
    assert userlands.choose("mine").label == f"mine:{second['digest'][:12]}"
    names = {path.name for path in userlands.userlands_folder().iterdir()}
    assert names == {"mine"}, "nothing of the old one is left"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from-image", "absent"], "podman create absent: Error: no image absent (podman pull"),
        (["--from-image", "bare"], "there is no /usr/bin/dash in it"),
        (["--from-image", "torn"], "torn: cannot be unpacked"),
        (["--from-image", "full", "--name", "debian"], "no userland can be called 'debian'"),
        (["--from-image", "full", "--name", "../up"], "no userland can be called '../up'"),
        (["--from-image", "full", "--engine", "docker"], "docker is not installed"),
        (["--name", "mine"], "goes with --from-image only"),
        (["--engine", "podman"], "goes with --from-image only"),
    ],
)
def test_what_cannot_be_built_is_told_and_leaves_nothing(
    engine: Path, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sekft(["worlds", "build", *words]) == 2
    assert said in capfd.readouterr().err
    assert not list(userlands.userlands_folder().iterdir())


def test_without_a_container_engine_the_way_to_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sekft(["worlds", "build", "--from-image", "debian:12"]) == 2
    said = capfd.readouterr().err
    assert "neither podman nor docker is installed (apt-get install podman)" in said


def test_damaged_userlands_are_told_apart_from_good_ones(
    engine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("changed", "good", "gone"):
        assert sekft(["worlds", "build", "--from-image", "full", "--name", name]) == 0
    folder = userlands.userlands_folder()
    (folder / "changed" / "root" / "usr/bin/dash").write_text("another program\n")
    (folder / "gone" / "root").rename(folder / "away")
    (folder / "half").mkdir()
    (folder / "half" / "userland.json").write_text("{")
    capfd.readouterr()
    assert sekft(["worlds", "check", "--sandbox", "bubblewrap", "--userland", "host"]) == 1
    shown = capfd.readouterr().out.splitlines()
    assert shown[0].startswith("ok  bubblewrap")
    assert any(line.strip().startswith("memory: ") for line in shown)
    assert "ok  userland good " in shown
    bad = [line for line in shown if line.startswith("BAD ")]
    assert [line.split()[2] for line in bad] == ["changed", "gone"]
    assert "its digest is " in bad[0]
    assert "cannot be read: " in bad[1]
    assert not any("half" in line for line in shown), "it is being built, or nothing"


@pytest.mark.skipif(os.geteuid() != 0, reason="others' worlds run under their own user")
def test_worlds_of_root_refuse_a_userland_that_an_ordinary_user_cannot_enter(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKFT_USERLANDS", str(tmp_path / "closed" / "userlands"))
    assert sekft(["worlds", "build", "--from-image", "full", "--name", "mine"]) == 0
    (tmp_path / "closed").chmod(0o700)
    with pytest.raises(Unavailable, match="user, who cannot enter this folder"):
        userlands.choose("mine")


def test_a_sandbox_that_does_not_work_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEKFT_USERLANDS", str(tmp_path))
    assert sekft(["worlds", "list"]) == 0
    assert capfd.readouterr().out.endswith("debian is not built: sekft worlds build\n")
    words = ["worlds", "check", "--sandbox", "bubblewrap", "--userland", "debian"]
    assert sekft(words) == 1
    first, way = capfd.readouterr().out.splitlines()
    assert first.startswith("no  bubblewrap")
    assert "not built" in first
    assert way == "      -> sekft worlds build"

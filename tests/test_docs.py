"""The documents name only what is there: paths, anchors, modules, tests, commands and flags."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from sekft_engine.cli.main import cli
from sekft_engine.factory.archetypes import HELD_OUT, TRAINING

ROOT = Path(__file__).parents[1]
#: The changelog tells of the past, and may name what has gone.
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
NAMES = [str(path) for path in DOCUMENTS]
_TOP = "sekft_engine|sekft_tui|tests|benchmarks|docs"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(rf"`((?:{_TOP}|\.github)/[\w./-]*|[\w./-]+\.(?:py|md))(?:::(\w+))?`")
_MODULE = re.compile(rf"-m ((?:{_TOP})(?:\.\w+)+)")
_PROGRAM = re.compile(rf"\b(?:python|pytest) ((?:{_TOP})/[\w./-]+)(?:::(\w+))?")
_FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`(sekft [^`]+)`")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tails() -> frozenset[Path]:
    """How a path may be shortened: every end of the path of a file of the project."""
    folders = (ROOT / top for top in _TOP.split("|"))
    found = (path.relative_to(ROOT).parts for folder in folders for path in folder.rglob("*.*"))
    return frozenset(Path(*parts[start:]) for parts in found for start in range(len(parts)))


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.replace(" ", "-") for heading in plain)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    for link in _LINK.findall(text(name)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.resolve()), link


@pytest.mark.parametrize("name", NAMES)
def test_every_path_exists(name: str) -> None:
    for path, function in (*_PATH.findall(text(name)), *_PROGRAM.findall(text(name))):
        assert (ROOT / path).exists() or Path(path) in tails(), path
        assert not function or f"def {function}(" in text(path), function


def test_every_feature_that_is_there_names_tests_that_hold_it_there() -> None:
    rows = [
        [cell.strip() for cell in line.replace(r"\|", "").strip("|").split("|")]
        for line in text("docs/features.md").splitlines()
        if line.startswith("| ")
    ]
    assert rows.pop(0) == ["feature", "", "how", "test"]
    for feature, tick, _, tests in rows:
        assert tick in ("✓", "✗"), feature
        assert bool(tests) == (tick == "✓"), feature
        for test in tests.split("<br>") if tests else ():
            path, _, function = test.strip("`").partition("::")
            assert function.startswith("test_"), test
            assert re.search(rf"^(async )?def {function}\(", text(path), re.MULTILINE), test


@pytest.mark.parametrize("name", NAMES)
def test_every_module_that_is_run_exists(name: str) -> None:
    for module in _MODULE.findall(text(name)):
        assert importlib.util.find_spec(module) is not None, module


def sekft_lines(name: str) -> Iterator[str]:
    """What the document shows of ``sekft``, in blocks and in sentences."""
    whole = text(name)
    for block in _FENCED.findall(whole):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.partition("#")[0].partition("   ")[0]
            if found := re.search(r"\bsekft [^$|]*", command):
                yield found[0]
    yield from _QUOTED.findall(whole)


def split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an apostrophe in a sentence
        return line.split()


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_flag_exists(name: str) -> None:
    for line in sekft_lines(name):
        command: click.Command = cli
        words = split(line.replace("[", " ").replace("]", " ").replace(",", " "))[1:]
        context = click.Context(command)
        while words and isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            if found is None:
                # A group may be followed by a flag, or by words that stand for its commands.
                assert command is not cli or not words[0].isalpha() or words[0].isupper(), line
                break
            command, words = found, words[1:]
        known = {
            option
            for parameter in command.get_params(click.Context(command))
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            flag = word.partition("=")[0]
            if re.fullmatch(r"--?[a-zA-Z][\w-]*", flag):
                assert flag in known, f"{flag} in: {line}"


def test_the_index_lists_every_page() -> None:
    for folder in ("docs", "docs/decisions"):
        index = text(f"{folder}/README.md")
        for page in sorted((ROOT / folder).glob("*.md")):
            assert page.name == "README.md" or f"]({page.name})" in index, page


def test_the_page_of_commands_shows_every_command() -> None:
    page = text("docs/commands.md")
    for name in cli.list_commands(click.Context(cli)):
        assert re.search(rf"^sekft {name}\b", page, re.MULTILINE), name


@pytest.mark.parametrize("page", ["evals", "filters", "keys", "replay", "shell", "workbench"])
def test_a_page_calls_who_is_evaluated_a_model(page: str) -> None:
    prose = re.sub(r"`[^`]+`", "", _FENCED.sub("", text(f"docs/{page}.md")))
    assert re.findall(r"\b[Ss]ubjects?\b", prose) == []


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_the_help_of_a_command_calls_who_is_evaluated_a_model(name: str) -> None:
    def helps(command: click.Command) -> Iterator[str]:
        context = click.Context(command)
        yield command.get_help(context)
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                if found := command.get_command(context, each):
                    yield from helps(found)

    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    whole = "\n".join(helps(command)).replace("--subject", "")
    assert re.findall(r"\bsubjects?\b", whole, re.IGNORECASE) == []


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) < 250
    for command in ("demo", "test"):
        assert f"\nmake {command} " in readme
        assert f"\n{command}:" in text("Makefile")


def test_the_numbers_of_archetypes_are_right() -> None:
    readme, page = " ".join(text("README.md").split()), " ".join(text("docs/result.md").split())
    assert f"{len(TRAINING)} training archetypes and {len(HELD_OUT)} held-out" in readme
    assert f"uses {len(TRAINING)} of them" in page


def test_the_picture_of_the_ladder_is_the_contract() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    ladder = next(one["layers"] for one in contracts if one.get("containers") == ["sekft_engine"])
    picture = _FENCED.findall(text("docs/architecture.md"))[0]
    drawn = [found for line in picture.splitlines() if (found := _layer(line, ladder))]
    assert drawn == ladder


def _layer(line: str, ladder: list[str]) -> str:
    """The layer that a line of the picture draws, '' = none."""
    rest = line[24:]
    return max(
        (layer for layer in ladder if f"{rest} ".startswith(f"{layer} ")), key=len, default=""
    )

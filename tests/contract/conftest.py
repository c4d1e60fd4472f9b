"""A data file to take prompts from, and the command as a user runs it against a local server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template import tokenizer
from tests.contract.servers import Answer, ModelServer
from tests.render.conftest import Base, MakeBase, bases, smol

__all__ = ["Base", "MakeBase", "bases", "smol"]

SESSIONS: dict[str, tuple[str, ...]] = {
    "disk-full-0007": ("Welcome.\n$ ", "df -h /", "/dev/sda 100%\n$ ", "rm core", "$ ", "exit"),
    "notes-0001": ("Tidy the notes.\n$", "ls", "notes.txt\n$", "panic 'no notes'"),
}


class Checked:
    """What ``sekft contract check`` did: exit status, stdout, stderr."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def causes(self) -> list[str]:
        """The cause of each prompt, '' where it is equal."""
        return [verdict["cause"] for verdict in self.document["sessions"]]


@cache
def _loaded(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)


Check = Callable[..., Checked]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "curated.jsonl", SESSIONS)


def write(path: Path, sessions: Mapping[str, tuple[str, ...]]) -> Path:
    """Sessions as a curated file; one whose number of contents is odd opens with a system turn."""
    lines = []
    for name, contents in sessions.items():
        lead = len(contents) % 2
        turns = [{"role": "system", "content": text} for text in contents[:lead]]
        turns += [
            {"role": "assistant" if number % 2 else "user", "content": text}
            for number, text in enumerate(contents[lead:])
        ]
        lines.append(json.dumps({"id": name, "turns": turns}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def check(
    data: Path, smol: Base, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Check:
    """Run ``sekft contract check`` against a local server with ``routes``, or against a URL."""
    # Each base is read once for all tests: reading it is not what is tested here.
    monkeypatch.setattr(tokenizer, "load_tokenizer", lambda base, _=None: _loaded(Path(base)))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def check(
        server: Mapping[str, Answer] | str,
        *options: str,
        base: Path = smol.folder,
        sessions: Path = data,
        hostile: bool = False,
        as_json: bool = True,
    ) -> Checked:
        words = ["contract", "check", "--data", str(sessions), "--base", str(base), *options]
        words += [] if hostile else ["--data-only"]
        words += ["--json"] if as_json else []
        capsys.readouterr()
        if isinstance(server, str):
            status = run([*words, "--endpoint", server])
        else:
            with ModelServer(server) as running:
                status = run([*words, "--endpoint", running.url])
        said = capsys.readouterr()
        return Checked(status, said.out, said.err)

    return check

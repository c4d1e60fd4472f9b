"""The dialect: how a world's prompt and output become environment turns.

The same text is built by the factory, the eval and the serving side, and its digest travels with
data and adapters: another prompt string is another task to a small model.
"""

from __future__ import annotations

import hashlib

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """``prompt`` may use ``{cwd}`` (home shown as ``~``). It has no trailing space, since many
    chat templates trim one and a trimmed turn could not be certified."""

    name: str = "sekft-1"
    prompt: str = "user@box:{cwd}$"

    def render_prompt(self, cwd: str, home: str = "/home/user") -> str:
        """The prompt as shown in ``cwd`` (an absolute path in the world)."""
        if cwd == home or cwd.startswith(home + "/"):
            cwd = "~" + cwd[len(home) :]
        return self.prompt.replace("{cwd}", cwd)

    def environment_turn(self, output: str, cwd: str) -> str:
        """The environment turn after a command: its output, then the prompt on its own line."""
        prompt = self.render_prompt(cwd)
        body = output.rstrip("\n")
        return f"{body}\n{prompt}" if body else prompt

    @property
    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


DEFAULT_DIALECT = Dialect()

"""The workspace: one folder that holds bases, data, scenarios and runs."""

from __future__ import annotations

import os
import shlex
import tomllib
from pathlib import Path

from sekft_engine.core.errors import BadInput, NoRoom, Unavailable, explain_os_error
from sekft_engine.core.files import read_regular
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect

CONFIG = "sekft.toml"
#: The base that is proposed where there is none: small, and free.
USUAL_BASE = "smollm2-135m"


class Workspace:
    """Paths and settings of the folder ``root``; nothing is created until :meth:`create`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().absolute()
        self.bases = self.root / "bases"
        self.trajectories = self.root / "trajectories"
        self.scenarios = self.root / "scenarios"
        self.train_scenarios = self.scenarios / "train"
        self.holdout_scenarios = self.scenarios / "holdout"
        self.runs = self.root / "runs"

    def create(self) -> Workspace:
        """Make the folders and a commented ``sekft.toml`` where they are not there yet."""
        try:
            for folder in (
                self.bases,
                self.trajectories,
                self.train_scenarios,
                self.holdout_scenarios,
                self.runs,
            ):
                folder.mkdir(parents=True, exist_ok=True)
            if not self.config_path.exists():
                self.config_path.write_text(DEFAULT_CONFIG, encoding="utf-8")
        except OSError as error:
            known = explain_os_error(error)
            if isinstance(known, NoRoom):
                raise known from error
            raise Unavailable(
                f"cannot make the workspace: {error.strerror}",
                where=str(error.filename or self.root),
                mend="choose a folder you may write to with --workspace",
            ) from error
        return self

    @property
    def config_path(self) -> Path:
        return self.root / CONFIG

    def _config(self) -> dict[str, object]:
        try:
            return tomllib.loads(read_regular(self.config_path).decode("utf-8"))
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(str(error), where=str(self.config_path)) from error

    @property
    def dialect(self) -> Dialect:
        """The workspace's dialect: ``[dialect]`` with ``name`` and ``prompt`` in the config."""
        table = self._config().get("dialect", {})
        if not isinstance(table, dict):
            raise BadInput("[dialect] must be a table", where=str(self.config_path))
        known = {key: str(table[key]) for key in ("name", "prompt") if key in table}
        return Dialect(**known) if known else DEFAULT_DIALECT

    @property
    def base(self) -> str:
        """The base to use when none is named: ``base`` in the config, else the only one there."""
        named = self._config().get("base")
        if isinstance(named, str) and named:
            inside = self.bases / named
            return str(inside) if inside.is_dir() else named
        found = self._bases_here()
        return str(found[0]) if len(found) == 1 else ""

    def _bases_here(self) -> list[Path]:
        return sorted(path.parent for path in self.bases.glob("*/config.json"))

    def no_base(self) -> BadInput:
        """The error of a job that has no base, where none is named: how this workspace gets one."""
        found = [path.name for path in self._bases_here()]
        if found:
            return BadInput(
                f"several bases in this workspace ({', '.join(found)}), and none is named",
                mend=f'name one with --base, or in {self.config_path}: base = "{found[0]}"',
            )
        return BadInput(
            "no base in this workspace",
            mend=f"sekft base add{naming(self.root)} {USUAL_BASE} adds one, --base names another",
        )


def no_base_named(place: Workspace | None) -> BadInput:
    """The error of a job that has no base, and the way to one that the same command then finds."""
    if place is not None:
        return place.no_base()
    return BadInput(
        "no base named",
        mend=f"name one: --base {USUAL_BASE}, which sekft base add {USUAL_BASE} fetches",
    )


def workspace_here() -> Workspace | None:
    """The workspace of commands that name none: the environment's, or the one this folder is; None
    = there is none."""
    from_environment = os.environ.get("SEKFT_WORKSPACE")
    if from_environment:
        return Workspace(from_environment)
    here = Path.cwd()
    return Workspace(here) if (here / CONFIG).is_file() else None


def naming(root: Path) -> str:
    """What a command that is typed in this folder needs to work on the workspace at ``root``:
    " --workspace demo", or "" where it finds that workspace by itself."""
    try:
        found = workspace_here()
        here = Path.cwd()
    except FileNotFoundError:  # this folder was deleted
        found, here = None, Path("/")
    if found is not None and found.root.resolve() == root.resolve():
        return ""
    near = root.relative_to(here) if root.is_relative_to(here) else root
    return f" --workspace {shlex.quote(str(near))}"


DEFAULT_CONFIG = """\
# sekft workspace
# base = "smollm2-135m"          # a folder under bases/, any local folder, a .gguf file or a Hub id

# The dialect is the prompt the model sees. Data, adapters and evals must agree on it.
# [dialect]
# name = "sekft-1"
# prompt = "user@box:{cwd}$"
"""

"""The sources that a training run recorded: base, data, recipe."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.clock import Clock
from sekft_engine.data.recipe import Recipe, recipe_from
from sekft_engine.records.runs import RunInfo


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The sources of a run; empty fields are unknown.

    ``data`` or ``hub`` names the trajectories, ``data_digest`` is over the rows built from them.
    ``clock`` is what the chat template was told is now.
    """

    base: str
    load_4bit: bool
    data: str
    hub: str
    data_digest: str
    recipe: Recipe
    clock: Clock | None = None

    def overridden_by(self, *, base: str, data: str, hub: str) -> Recorded:
        """The same with the arguments that are not empty in place of the recorded values."""
        changed = msgspec.structs.replace(self, base=base or self.base)
        if data or hub:
            changed = msgspec.structs.replace(changed, data=data, hub=hub)
        return changed


def recorded(info: RunInfo) -> Recorded:
    """Read the sources from the manifest of a training run.

    Raises:
        BadInput: it is not a training run.
    """
    if info.kind != "train":
        raise BadInput(
            f"this run is of the kind {info.kind!r} and trained nothing",
            where=info.id,
            mend="name a training run; sekft runs list shows them",
        )
    base, data = info.facts.base, info.facts.data
    known = set(Recipe.__struct_fields__)
    recipe = info.about.get("recipe", {})
    path, hub, clock = data.path, data.hub, info.facts.clock
    if not path and not hub:  # older runs recorded only what was typed
        typed = str(info.about.get("data", ""))
        here = Path(typed).expanduser().exists()
        path, hub = (typed, "") if here else ("", typed)
    return Recorded(
        base=base.path,
        load_4bit=base.load_4bit,
        data=path,
        hub=hub,
        data_digest=data.sha256,
        recipe=recipe_from(
            {name: value for name, value in recipe.items() if name in known}, where=info.id
        ),
        clock=clock if isinstance(clock, Clock) else None,
    )

"""What a training run recorded of where it came from: base, data, recipe."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.errors import BadInput
from sekft_engine.recipe import Recipe, recipe_from
from sekft_engine.runs import RunInfo


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """``data`` or ``hub`` names the trajectories, ``data_digest`` is over the rows made of them;
    empty fields are not known."""

    base: str
    load_4bit: bool
    data: str
    hub: str
    data_digest: str
    recipe: Recipe

    def with_given(self, *, base: str, data: str, hub: str) -> Recorded:
        """What is given goes before what was recorded."""
        changed = msgspec.structs.replace(self, base=base or self.base)
        if data or hub:
            changed = msgspec.structs.replace(changed, data=data, hub=hub)
        return changed


def recorded(info: RunInfo) -> Recorded:
    """What the manifest of a training run says.

    Raises:
        BadInput: the run is not one that trains.
    """
    if info.kind != "train":
        raise BadInput(
            f"this run is of the kind {info.kind!r} and trained nothing",
            where=info.id,
            mend="name a training run; sekft runs list tells them",
        )
    base, data = info.facts.get("base", {}), info.facts.get("data", {})
    known = set(Recipe.__struct_fields__)
    recipe = info.about.get("recipe", {})
    path, hub = str(data.get("path", "")), str(data.get("hub", ""))
    if not path and not hub:  # runs recorded only what was typed, once
        typed = str(info.about.get("data", ""))
        here = Path(typed).expanduser().exists()
        path, hub = (typed, "") if here else ("", typed)
    return Recorded(
        base=str(base.get("path", "")),
        load_4bit=bool(base.get("load_4bit", False)),
        data=path,
        hub=hub,
        data_digest=str(data.get("sha256", "")),
        recipe=recipe_from(
            {name: value for name, value in recipe.items() if name in known}, where=info.id
        ),
    )

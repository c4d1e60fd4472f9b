"""The adapters on a base by the names that users give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.records.adapter_names import unlike
from sekft_engine.records.adapters import AdapterMeta

#: What is wrong with a name that another adapter has.
TAKEN = "an adapter of this name is on the base"


class NamedAdapter(msgspec.Struct, kw_only=True):
    """An adapter on the base: its slot in PEFT, the digest of its content, its configuration as in
    its file, the content of its ``sekft.json``, whether it is known to be made for the base, and
    the folder that it was read from or is saved in."""

    slot: str
    digest: str
    config: dict[str, Any]
    confirmed: bool
    meta: AdapterMeta | None = None
    folder: Path | None = None


class NamedAdapters(dict[str, NamedAdapter]):
    """Adapters by name, in the order in which they came."""

    def known(self, name: str) -> NamedAdapter:
        """The adapter called ``name``.

        Raises:
            BadInput: there is none.
        """
        found = self.get(name)
        if found is None:
            there = ", ".join(self) or "none"
            raise BadInput("no such adapter on the base", where=name, mend=f"there: {there}")
        return found

    def renamed(self, name: str, to: str) -> NamedAdapters:
        """The same with the adapter ``name`` called ``to``, in its place.

        Raises:
            BadInput: there is no such adapter, or ``to`` is taken or is not a name.
        """
        self.known(name)
        self.refuse(to)
        return NamedAdapters({to if key == name else key: adapter for key, adapter in self.items()})

    def refuse(self, name: str, *, own: Path | None = None) -> None:
        """Raise :class:`BadInput` if a new adapter must not have this name.

        Args:
            own: the folder of the new adapter; what came from there may be replaced.
        """
        if not name or name == "__base__":
            raise BadInput("not a name for an adapter", where=repr(name), mend="choose another")
        if name in self and not self._is_from(name, own):
            raise BadInput(TAKEN, where=name, mend="choose another name, or drop that adapter")

    def free(self, wanted: str, *, own: Path | None = None) -> str:
        """``wanted``, with a number appended if another adapter has that name already.

        Args:
            own: as for :meth:`refuse`.
        """
        return unlike(wanted, {name for name in self if not self._is_from(name, own)})

    def _is_from(self, name: str, folder: Path | None) -> bool:
        return folder is not None and self[name].folder == folder.resolve()

"""What several jobs have in common: the base class of all, and fields."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

# Descriptions are the help texts of the options that commands make of these fields.
Base = Annotated[str, Meta(description="A folder, a .gguf file, a known base, or a Hub id.")]

Out = Annotated[str, Meta(description="The run's folder [default: the next in the workspace].")]

#: None = as the base is resident, else as the adapter was trained, else in full precision.
Load4bit = Annotated[
    bool | None,
    Meta(
        description="Hold the base in 4 bits (NF4, double quant), or in full precision "
        "[default: as it is loaded already, or as the adapter was trained]."
    ),
]

Device = Annotated[
    str,
    Meta(
        description="Where the base computes: auto, cpu, cuda, or one card, as cuda:1; auto = "
        "where it is loaded already, else a card if there is one.",
        extra={"metavar": "DEVICE"},
    ),
]

Userland = Annotated[
    str,
    Meta(
        description="What is in the worlds: host, debian (sekft worlds build), or an exported "
        "one; auto = host in bubblewrap, debian in containers."
    ),
]

Strict = Annotated[
    bool,
    Meta(
        description="Stop at the first trajectory that cannot be read, instead of dropping it "
        "under a counted reason."
    ),
]


class Job(msgspec.Struct, frozen=True, kw_only=True, tag_field="job", forbid_unknown_fields=True):
    """The fields of all jobs; an empty ``id`` is assigned by the engine."""

    id: str = ""

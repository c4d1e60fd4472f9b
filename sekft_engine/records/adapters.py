"""Adapters on disk: plain PEFT folders plus ``sekft.json``, which says what they belong to."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput, DigestMismatch

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
META = "sekft.json"

#: Longest configuration that is read; those of PEFT have some kilobytes.
LONGEST = 4 << 20
#: Largest file of weights that is looked at.
LARGEST = 32 << 30

#: Fields of adapter_config.json that say where it was made and not what it is.
_PLACES = ("base_model_name_or_path", "revision", "inference_mode")


class AdapterMeta(msgspec.Struct, frozen=True, kw_only=True):
    """The base, data and run of an adapter; the content of ``sekft.json``.

    ``render`` holds the digests of tokenizer, template and normaliser version, ``dialect`` the
    prompt it was trained at, ``load_4bit`` whether the base was held in 4 bits. Empty fields are
    not known and are not compared.
    """

    schema: int = 1
    name: str = ""
    base: str = ""
    base_digest: str = ""
    render: dict[str, str] = {}
    dialect: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    run: str = ""
    step: int = 0
    data: dict[str, Any] = {}
    versions: dict[str, str] = {}
    load_4bit: bool | None = None


def adapter_digest(folder: Path) -> str:
    """SHA-256 over the adapter's weights and configuration, as 64 hexadecimal digits."""
    config = read_config(folder)
    with (folder / WEIGHTS).open("rb") as file:
        return content_digest(config, hashlib.file_digest(file, "sha256").hexdigest())


def content_digest(config: dict[str, Any], weights: str) -> str:
    """:func:`adapter_digest` of what was read: the configuration, and the SHA-256 of the weights'
    file in hexadecimal digits."""
    facts = {key: value for key, value in config.items() if key not in _PLACES}
    if isinstance(facts.get("target_modules"), list):
        facts["target_modules"] = sorted(facts["target_modules"], key=str)
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    total.update(bytes.fromhex(weights))
    return total.hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """``adapter_config.json``, refusing what is no LoRA or would need a pickle."""
    path = folder / CONFIG
    try:
        config: dict[str, Any] = json.loads(_read(path))
    except FileNotFoundError:
        raise BadInput("no adapter here", where=str(folder), mend=f"it has no {CONFIG}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}", where=str(path)) from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        found = f": its peft_type is {json.dumps(kind)[:60]}" if kind else ""
        raise BadInput(
            f"not a LoRA adapter{found}",
            where=str(path),
            mend="only LoRA, rsLoRA and DoRA are taken",
        )
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        raise BadInput(
            "only pickled weights, which can run code when loaded" if pickled else "no weights",
            where=str(folder),
            mend=f"an adapter needs {WEIGHTS}",
        )
    if (folder / WEIGHTS).stat().st_size > LARGEST:
        raise BadInput(
            f"larger than {LARGEST >> 30} GiB", where=str(folder / WEIGHTS), mend="save it again"
        )
    return config


def read_meta(folder: Path) -> AdapterMeta | None:
    """``sekft.json``; None where the adapter was made elsewhere and has none."""
    path = folder / META
    try:
        return msgspec.json.decode(_read(path), type=AdapterMeta)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"broken: {error}", where=str(path)) from error


def _read(path: Path) -> bytes:
    """Read a small file; refuses devices and files that are too long."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadInput("not a file", where=str(path), mend="put the adapter's own file there")
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise BadInput(f"longer than {LONGEST >> 20} MiB", where=str(path), mend="save it again")
    return content


def refuse_stranger(
    meta: AdapterMeta, folder: Path, *, base_digest: str, render: dict[str, str]
) -> None:
    """Raise :class:`DigestMismatch` where the adapter was trained on another base or render."""
    if meta.base_digest and meta.base_digest != base_digest:
        raise DigestMismatch(
            f"trained on another base ({meta.base or 'unnamed'}, {meta.base_digest[:12]}), "
            f"not on the one that is loaded ({base_digest[:12]})",
            where=str(folder),
            mend="load its base, or train it again on this one",
        )
    for part, digest in meta.render.items():
        if part in render and render[part] != digest:
            raise DigestMismatch(
                f"trained with another {part} ({digest[:12]}, here {render[part][:12]})",
                where=str(folder),
                mend="use the base and the version of sekft it was trained with, or train it again",
            )

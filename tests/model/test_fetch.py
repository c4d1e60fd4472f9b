"""Of a base of the Hub, what transformers would load is fetched, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.models import TOKENIZER_FILES
from tests.sources.hub_server import serving

#: Fetches each base named into one cache, and tells which files are there afterwards.
CODE = """
import json, sys
from sekft_engine.bases import base_digest, resolve_base

told = {}
for name in sys.argv[1:]:
    folder = resolve_base(name)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    told[name] = {"files": files, "digest": base_digest(folder)}
print(json.dumps(told))
"""


def fetched(address: str, cache: Path, *names: str, offline: bool = False) -> dict[str, object]:
    environment = os.environ | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
        "SEKFT_CACHE": str(cache / "sekft"),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names],
        capture_output=True, text=True, check=False, timeout=120, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_weights_are_fetched_once_and_other_formats_of_them_never(
    tiny_base: Path, tmp_path: Path
) -> None:
    words = {name: (tiny_base / name).read_bytes() for name in (*TOKENIZER_FILES, "config.json")}
    weights = (tiny_base / "model.safetensors").read_bytes()
    shards = {f"model-0000{number}-of-00002.safetensors": weights for number in (1, 2)}
    index = {"weight_map": {name: name for name in shards}}
    others = {
        "consolidated.safetensors": b"never fetched",
        "original/model.safetensors": b"never fetched",
        "adapter_model.safetensors": b"never fetched",
        "pytorch_model.bin": b"never fetched",
        "modeling.py": b"never fetched",
    }
    whole = "model.safetensors"
    models = {
        "org/one": {**words, whole: weights, **others},
        "org/several": {
            **words, **shards, f"{whole}.index.json": json.dumps(index).encode(),
            whole: b"never fetched", **others,
        },
    }  # fmt: skip
    with serving(models, "models") as address:
        online = fetched(address, tmp_path, *models)
    assert online["org/one"]["files"] == sorted([*words, whole])  # type: ignore[index]
    several = sorted([*words, *shards, f"{whole}.index.json"])
    assert online["org/several"]["files"] == several  # type: ignore[index]
    assert fetched(address, tmp_path, *models, offline=True) == online

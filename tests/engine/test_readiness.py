"""What a training needs is imported before one is asked for, where someone is about to train."""

from __future__ import annotations

import subprocess
import sys

_ASKED = """
import gc, sys, time
from sekft_engine.engine.engine import Engine
engine = Engine(nice=0).start()
assert "torch" not in sys.modules, "nothing is imported before someone asks"
engine.make_ready()
wanted = ["torch", "transformers", "peft", "torch._dynamo", "sekft_engine.training.run.job"]
end = time.monotonic() + 500
while not all(name in sys.modules for name in wanted) and time.monotonic() < end:
    time.sleep(0.1)
print(*(name for name in wanted if name not in sys.modules))
assert engine.close(timeout=None)
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
print(engine.status().queued, engine.status().running)
"""


def test_an_engine_that_is_asked_imports_what_a_training_needs_and_spares_the_collector() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASKED], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "True True", "[] None"]


_HURRIED = """
import sys
from sekft_engine.engine.engine import Engine
from sekft_engine.records.results import DropResult
from tests.engine.conftest import Listener, Poke

def do(job, context):
    return DropResult(adapters={name: "" for name in ("torch", "peft") if name in sys.modules})

engine = Engine(nice=0, handlers={Poke: do})
listener = Listener(engine)
engine.make_ready()
job = engine.submit(Poke())
engine.start()
print(*listener.ending(job).result.adapters)
engine.close(timeout=None)
"""


def test_a_job_that_is_queued_does_not_wait_for_what_it_may_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HURRIED], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [""]


_STARTED_WITH_A_JOB = """
import os, sys, threading, time
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.server import serve_lines
from sekft_engine.records.results import DropResult
from tests.engine.conftest import Poke

source, keep_open = os.pipe()
engine = Engine(nice=0, handlers={Poke: lambda job, context: DropResult(adapters={})}).start()
serving = threading.Thread(target=serve_lines, args=(source, lambda line: None, engine, Poke()))
serving.start()
end = time.monotonic() + 500
while "peft" not in sys.modules and time.monotonic() < end:
    time.sleep(0.1)
print("peft" in sys.modules)
os.close(keep_open)
serving.join()
"""


def test_a_resident_engine_that_was_started_with_a_base_has_what_a_training_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STARTED_WITH_A_JOB],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True"]

"""Deliberate mistakes about the device, each of which a test must catch.

``python -m tests.accelerator.mutations`` copies the tree, makes one mistake after another in the
copy, runs the tests that concern it and says which failed. It takes some minutes; with names of
mutations it makes only these. The exit status is 1 where a mistake went unnoticed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TESTS = "tests/accelerator"
#: Seconds in which the tests of one mutation must end.
LIMIT = 300


class Mutation(NamedTuple):
    """A mistake: in ``file`` the text ``old`` becomes ``new``; ``tests`` run then."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation(
        "inputs of a step stay on the CPU",
        "training/trainer/loss.py",
        "return device_of(place).upload(np.ascontiguousarray(values))",
        "return __import__('torch').from_numpy(np.ascontiguousarray(values))",
        "test_training.py",
    ),
    Mutation(
        "the gradient of the loss is made on the CPU",
        "model/kernels/cross_entropy.py",
        "grad = torch.empty_like(hidden_states) if",
        "grad = torch.empty(hidden_states.shape) if",
        "test_training.py",
    ),
    Mutation(
        "a loss is read between two passes",
        "training/trainer/accumulate.py",
        "loss = losses.sum()\n",
        "loss = losses.sum()\n        float(loss.detach())\n",
        "test_training.py",
    ),
    Mutation(
        "a checkpoint holds tensors of the device",
        "training/run/checkpoint.py",
        "tensor.detach().cpu().contiguous()",
        "tensor.detach().contiguous()",
        "test_training.py",
    ),
    Mutation(
        "an adapter is saved from the device",
        "model/attaching/writing.py",
        "tensor.detach().cpu().contiguous()",
        "tensor.detach().contiguous()",
        "test_training.py",
    ),
    Mutation(
        "a resumed run forgets the device's random numbers",
        "training/trainer/trainer.py",
        "        set_random_state(tensors, self.base.device)\n",
        "        set_random_state(tensors, __import__('torch').device('cpu'))\n",
        "test_training.py",
    ),
    Mutation(
        "memory is planned by that of the machine",
        "training/run/memory_plan.py",
        "device = device_of(base.device)",
        "device = device_of(__import__('torch').device('cpu'))",
        "test_training.py",
    ),
    Mutation(
        "an error of the allocator is not known",
        "model/device/__init__.py",
        "isinstance(error, MemoryError | torch.OutOfMemoryError)",
        "isinstance(error, MemoryError) or type(error) is torch.OutOfMemoryError and False",
        "test_seam.py",
    ),
    Mutation(
        "slots of the cache stay on the CPU",
        "operators/decode.py",
        "slots = self._device.upload(new_slots)",
        "slots = __import__('torch').from_numpy(new_slots)",
        "test_decoding.py",
    ),
    Mutation(
        "a mask is made on the CPU",
        "operators/decode.py",
        "keys = torch.arange(span, device=slots.device)",
        "keys = torch.arange(span)",
        "test_decoding.py",
    ),
    Mutation(
        "rows of the cache are numbered on the CPU",
        "operators/kv.py",
        "row = torch.arange(len(past), device=new.device)",
        "row = torch.arange(len(past))",
        "test_decoding.py",
    ),
    Mutation(
        "sampled ids stay on the CPU",
        "operators/decoder.py",
        "picked = self._device.upload(np.array(self._drawn(keys, logits)))",
        "picked = torch.tensor(self._drawn(keys, logits))",
        "test_decoding.py",
    ),
    Mutation(
        "logits are looked at before they are read",
        "operators/decoder.py",
        "            picked = logits.argmax(-1)\n",
        "            picked = logits.argmax(-1)\n            bool(logits.isfinite().all())\n",
        "test_decoding.py",
    ),
    Mutation(
        "a base is loaded in float32 everywhere",
        "model/loading.py",
        "dtype = torch.float32 if full else own.dtype",
        "dtype = torch.float32",
        "test_types.py",
    ),
    Mutation(
        "weights are merged in the type of the base",
        "model/loading.py",
        "dtype = torch.float32 if full else own.dtype",
        "dtype = own.dtype",
        "test_export.py",
    ),
    Mutation(
        "what is merged is compared on the CPU",
        "export/merge.py",
        "_probe_ids(base.tokenizer).to(place)",
        "_probe_ids(base.tokenizer)",
        "test_export.py",
    ),
    Mutation(
        "a base is loaded into main memory",
        "model/loading.py",
        "if sharded else str(place)}",
        'if sharded else "cpu"}',
        "test_jobs.py",
    ),
    Mutation(
        "offsets of rows stay on the CPU",
        "model/kernels/attention.py",
        "return device_of(place).upload(np.cumsum([0, *layout.lengths], dtype=np.int32))",
        "return __import__('torch').from_numpy(np.cumsum([0, *layout.lengths], dtype=np.int32))",
        "test_varlen.py",
    ),
    Mutation(
        "a job's device is not passed on",
        "training/run/job.py",
        "job.load_4bit, device=job.device",
        "job.load_4bit",
        "test_jobs.py",
    ),
    Mutation(
        "a module asks torch.cuda itself",
        "training/run/gauges.py",
        "        self._processors = ProcessorLoad()\n",
        '        self._processors = ProcessorLoad()\n        device.type == "cuda"\n',
        "test_seam.py",
    ),
)


def copied(folder: Path) -> Path:
    """A copy of the packages and tests, whose modules are found first."""
    for name in ("sekft_engine", "sekft_tui", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "pictures")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def caught_by(mutation: Mutation, tree: Path) -> str:
    """The first test that fails with ``mutation``; empty = none does."""
    path = tree / "sekft_engine" / mutation.file
    text = path.read_text(encoding="utf-8")
    if mutation.old not in text:
        raise SystemExit(f"{mutation.name}: {mutation.file} has no such text any more")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
             f"{TESTS}/{mutation.tests}"],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )  # fmt: skip
    finally:
        path.write_text(text, encoding="utf-8")
    failed = re.search(r"^(?:FAILED|ERROR) \S+?::(\S+)", done.stdout, re.MULTILINE)
    return failed[1] if done.returncode == 1 and failed is not None else ""


def main(names: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name in names]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        for mutation in chosen:
            began = time.monotonic()
            test = caught_by(mutation, tree)
            unnoticed += not test
            seconds = time.monotonic() - began
            print(f"{mutation.name}: {test or 'NOT CAUGHT'} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} mistakes were caught")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

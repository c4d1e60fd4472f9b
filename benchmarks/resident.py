"""Jobs on a base that stays in memory, against loading the base anew for each.

Adapters are trained for a step each, and then evaluated in real worlds, in three ways:

resident: on one engine, which loads the base for its first job (that counts).
anew: each job on an engine of its own in the same process, which has all libraries already; so
    the difference is the base alone. ``ratio_reload`` is the seconds of these over resident ones.
command: each job as a process of its own, `sekft train` and `sekft eval`. ``ratio_command``.

The ways take turns job by job. A short job is what residence helps most: what it spares is the same
for a long one, and told as seconds spared per job.

Then what it takes until another adapter acts, in milliseconds: ``swap`` to one that is on the base
already, ``attach`` from disk; the peers are PEFT's ``set_adapter`` and ``load_adapter`` on a base
of its own, and loading base and adapter anew (``from_pretrained`` of transformers, then of PEFT).
``proof`` is the comparison of the whole base with what was loaded, which is a part of each
``attach`` and comes at the end of each job; ``proof_s_per_gb`` is that per 10^9 bytes of the base.
``switch`` is the same with 1 to 32 adapters on the base.

At last ``first_token``: from "evaluate this adapter" to its first token, in a world of its own, on
an engine in the background (`sekft resident --detach`) as a client of its socket hears it, and as a
process of its own. ``attached`` is with an adapter that is on the base already, by its name.
``parts_ms`` says where the time goes.
"""

from __future__ import annotations

import argparse
import gc
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.shared.first_token import first_tokens, one_token
from benchmarks.shared.report import arguments, run_main, tell
from benchmarks.shared.switching import switch_ms
from sekft_engine.bases import resolve_base
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.factory import make
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job

RECIPE = Recipe(lr=1e-3, dropout=0, batch=2, micro_batch=2, max_steps=1, heldout=0, token_losses=0)
SWAPS = 20
COMMAND = "from sekft_engine.cli.main import main; main()"


# --- the jobs ------------------------------------------------------------------------------------


class Bench:
    """A workspace with sessions and worlds, and the jobs on them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.workspace = Workspace(folder).create()
        self.base = str(resolve_base(options.base))
        self.options = options
        make(folder, train=4, holdout=options.worlds, seed=0)

    def train(self, out: Path) -> jobs.Train:
        data = str(self.workspace.trajectories)
        return jobs.Train(base=self.base, data=data, out=str(out), recipe=RECIPE)

    def evaluate(self, out: Path, adapter: Path) -> jobs.Evaluate:
        return jobs.Evaluate(
            base=self.base,
            adapters=(str(adapter),),
            with_base=False,
            scenarios=str(self.workspace.holdout_scenarios),
            n=self.options.worlds,
            step_cap=self.options.step_cap,
            turn_tokens=self.options.turn_tokens,
            out=str(out),
        )


@contextmanager
def engine(workspace: Workspace) -> Iterator[Callable[[Job], None]]:
    """A way to do a job on an engine, and to wait for its end."""
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    running = Engine(workspace, nice=0)
    running.subscribe(heard.put)
    running.start()

    def do(job: Job) -> None:
        name = running.submit(job)
        while True:
            event = heard.get()
            if event.job == name and isinstance(event, events.ENDINGS):
                break
        if not isinstance(event, events.JobDone):
            raise SystemExit(f"{event.kind}: {getattr(event, 'error', 'stopped')}")

    yield do
    running.close()


def words_of(job: Job) -> list[str]:
    """The command that does the same."""
    if isinstance(job, jobs.Train):
        recipe = msgspec.to_builtins(job.recipe)
        default = msgspec.to_builtins(Recipe())
        flags = [
            word
            for name, value in recipe.items()
            if value != default[name]
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        return ["train", "--base", job.base, "--data", job.data, "--out", job.out, *flags]
    assert isinstance(job, jobs.Evaluate)
    return [
        *("eval", "--base", job.base, "--adapter", job.adapters[0], "--no-base"),
        *("--scenarios", job.scenarios, "--n", str(job.n), "--out", job.out),
        *("--step-cap", str(job.step_cap), "--turn-tokens", str(job.turn_tokens)),
    ]


def command(job: Job) -> None:
    line = [sys.executable, "-c", COMMAND, *words_of(job)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words_of(job))}: {done.stderr.strip()[-400:]}")


def job_seconds(bench: Bench, folder: Path, adapters: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every job by way and kind."""
    took: dict[str, dict[str, list[float]]] = {}

    def anew(job: Job) -> None:
        with engine(bench.workspace) as do:
            do(job)
        gc.collect()

    def timed(way: str, kind: str, do: Callable[[Job], None], job: Job) -> None:
        began = time.perf_counter()
        do(job)
        took.setdefault(way, {}).setdefault(kind, []).append(time.perf_counter() - began)

    with engine(bench.workspace) as resident:
        ways = {"resident": resident, "anew": anew, "command": command}
        for number in range(adapters):
            for way, do in ways.items():
                timed(way, "train", do, bench.train(folder / f"{way}-{number}"))
        for number in range(adapters):
            for way, do in ways.items():
                adapter = folder / f"{way}-{number}"
                timed(way, "eval", do, bench.evaluate(folder / f"{way}-eval-{number}", adapter))
    return took


# --- changing adapters ---------------------------------------------------------------------------


def median_ms(do: Callable[[int], object], times: int) -> float:
    found = []
    for number in range(times):
        began = time.perf_counter()
        do(number)
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def own_swaps(path: str, adapters: list[Path]) -> dict[str, float]:
    """Milliseconds until another adapter is the one that acts."""
    base = ResidentBase.load(path)
    base.attach("0", adapters[0])
    base.attach("1", adapters[1])

    def attach(number: int) -> None:
        base.drop(str(number % 2))
        base.attach(str(number % 2), adapters[number % 2])

    def prove(number: int) -> None:
        base.activate(str(number % 2))  # what nothing has acted on is not looked at again
        base.prove()

    swap = median_ms(lambda n: base.activate(str(n % 2)), SWAPS)
    return {
        "swap": swap,
        "attach": median_ms(attach, SWAPS // 4),
        "proof": max(0.0, median_ms(prove, SWAPS) - swap),
    }


def peft_swaps(path: str, adapters: list[Path]) -> dict[str, float]:
    """The same with PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()

    def load(number: int) -> Any:
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True)
        return PeftModel.from_pretrained(model, str(adapters[number % 2]), adapter_name="0")

    model = load(0)
    model.load_adapter(str(adapters[1]), adapter_name="1")

    def attach(number: int) -> None:
        name = str(number % 2)
        model.set_adapter(str((number + 1) % 2))
        model.delete_adapter(name)
        model.load_adapter(str(adapters[number % 2]), adapter_name=name)
        model.set_adapter(name)

    return {
        "PEFT set_adapter": median_ms(lambda n: model.set_adapter(str(n % 2)), SWAPS),
        "PEFT load_adapter": median_ms(attach, SWAPS // 4),
        "load base and adapter": median_ms(load, 3),
    }


# --- the report ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bench = Bench(folder / "workspace", options)
        ResidentBase.load(bench.base)  # what is imported and read once is no part of any way
        gc.collect()
        took = job_seconds(bench, folder, options.adapters)
        adapters = [folder / f"resident-{number}" / "adapter" for number in range(2)]
        swap = own_swaps(bench.base, adapters) | peft_swaps(bench.base, adapters)
        size = ResidentBase.load(bench.base).memory()
        gc.collect()
        switch = switch_ms(bench.base, adapters[0])
        gc.collect()
        first = first_tokens(
            bench.workspace,
            bench.base,
            lambda out, adapter: one_token(bench.evaluate(out, adapter)),
            adapters,
            folder,
            options.first_tokens,
        )
    total = {way: sum(map(sum, kinds.values())) for way, kinds in took.items()}
    count = 2 * options.adapters
    return {
        "base": Path(bench.base).name,
        "jobs": count,
        "seconds": {
            way: {kind: round(statistics.median(some), 2) for kind, some in kinds.items()}
            for way, kinds in took.items()
        },
        "ratio_reload": round(total["anew"] / total["resident"], 2),
        "ratio_command": round(total["command"] / total["resident"], 2),
        "spared_s_per_job": {
            way: round((total[way] - total["resident"]) / count, 2) for way in ("anew", "command")
        },
        "swap_ms": {what: round(value, 2) for what, value in swap.items()},
        "switch_ms": switch,
        "first_token": first,
        "proof_s_per_gb": round(swap["proof"] / 1e3 / (size / 1e9), 3),
        "ratio_swap": round(swap["load base and adapter"] / swap["swap"], 1),
        "ratio_attach": round(swap["load base and adapter"] / swap["attach"], 1),
        "ratio_peft_swap": round(swap["PEFT set_adapter"] / swap["swap"], 2),
        "ratio_peft_attach": round(swap["PEFT load_adapter"] / swap["attach"], 2),
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['base']}, {result['jobs']} jobs, median seconds of a job")
    print(f"{'':10}{'train':>8}{'eval':>8}{'all, ratio':>12}{'spared s/job':>14}")
    ratios = {"anew": result["ratio_reload"], "command": result["ratio_command"]}
    for way, kinds in result["seconds"].items():
        spared = result["spared_s_per_job"].get(way, "")
        print(
            f"{way:10}{kinds['train']:>8.2f}{kinds['eval']:>8.2f}"
            f"{ratios.get(way, 1.0):>12.2f}{spared:>14}"
        )
    print("\nuntil another adapter acts, in milliseconds")
    for what, value in result["swap_ms"].items():
        print(f"  {what:24}{value:>10.2f}{value / result['swap_ms']['swap']:>9.1f}x")
    print("\na switch with so many adapters on the base, in milliseconds")
    switch = result["switch_ms"]
    for what in ("adapters", "own", "peft", "ratio"):
        print(f"  {what:10}" + "".join(f"{value:>8}" for value in switch[what]))
    first = result["first_token"]
    print("\nfrom 'evaluate this adapter' to its first token, in seconds")
    print(f"  fresh process            {first['fresh_s']:>9}")
    for name, what in (("resident", "resident, from a folder"), ("attached", "resident, attached")):
        print(f"  {what:25}{first[name + '_s']:>9}{first['ratio_' + name]:>9}x")
    for what, values in first["parts_ms"].items():
        print(f"    {what:23}" + "".join(f"{value:>9.1f} ms" for value in values))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--adapters", type=int, default=2, help="two jobs for each; at least 2")
    parser.add_argument("--worlds", type=int, default=2, help="of an eval")
    parser.add_argument("--step-cap", type=int, default=2, help="commands in an episode")
    parser.add_argument("--turn-tokens", type=int, default=8, help="tokens in a command")
    parser.add_argument("--first-tokens", type=int, default=5, help="evals for the first token")
    options = parser.parse_args()
    tell(measure(options), show, as_json=options.json)


if __name__ == "__main__":
    run_main(main)

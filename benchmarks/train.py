"""Training speed: sekft against TRL's SFTTrainer, and against what the machine can do.

Both trainers take the same base, the same fresh adapter, the same rows in the same order, one batch
per step, and the same rate, dtype and threads; without dropout the losses of every step are
compared. TRL is asked first for a few steps in each way that is worth a try (``peer_trl.ways``: how
many rows share a pass; on CUDA also padding-free, and Liger where it is installed, neither of which
the machine this was written on can run), and is compared at its quickest. Its ways differ among
themselves by rounding too, and how far they do is told beside the difference to sekft's losses.
Sekft is timed before TRL and after it.

The bound is the rate of this machine's matrix products by the quicker of its kernels, at 4 N
operations per token of a whole row (forward, and back to the activations; the weights themselves
are frozen), where N counts all weights that multiply. What rows begin with in common, and the
head's logits where no token is trained, are computed once or not at all and are counted all the
same: such savings are what it is to show. A second share leaves those logits out, as the screen of
a training does.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import peer_trl
from benchmarks.levers import RECIPE, Run, levers, run_of, sekft
from benchmarks.peer_trl import Way
from benchmarks.shared.given import rows_of
from benchmarks.shared.memory import with_peak
from benchmarks.shared.report import arguments, run_main, tell
from sekft_engine.model.device import out_of_memory
from sekft_engine.model.loading import load_model
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.run.roofline import measure_bound, most_tokens_per_s
from sekft_engine.training.trainer.data import TrainRow


def trl(base: ResidentBase, rows: Sequence[TrainRow], batch: int, way: Way, start: Path) -> Run:
    """TRL on the same rows, from the same adapter, on a base of its own."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(
        load_model(base.path, load_4bit=base.quantised), str(start), is_trainable=True
    )
    steps = peer_trl.trained(
        model, base.path, rows, batch=batch, way=way, lr=RECIPE.lr, clip=RECIPE.clip
    )
    return run_of(rows, batch, steps.seconds, steps.losses)


def trl_at_its_best(
    base: ResidentBase, rows: Sequence[TrainRow], options: argparse.Namespace, start: Path
) -> dict[str, Any]:
    """TRL in its quickest way, and what a few steps in each way gave."""
    few = rows[: options.batch * options.choose_steps]
    cuda = base.device.type == "cuda"
    tried: dict[Way, Run] = {}
    failed: dict[str, str] = {}
    for way in peer_trl.ways(options.batch, cuda):
        try:
            tried[way] = trl(base, few, options.batch, way, start)
        except (RuntimeError, MemoryError, ImportError, ValueError) as error:
            failed[way.name] = "out of memory" if out_of_memory(error) else str(error)[:200]
    if not tried:
        raise SystemExit(f"TRL cannot be run: {failed}")
    best = max(tried, key=lambda way: tried[way].tokens_per_s)
    run, peak = with_peak(base.device, lambda: trl(base, rows, options.batch, best, start))
    pairs = itertools.combinations([one.losses for one in tried.values()], 2)
    return {
        "trl": msgspec.to_builtins(run),
        "trl_best": best.name,
        "trl_ways": {way.name: round(one.tokens_per_s, 1) for way, one in tried.items()},
        "trl_failed": failed,
        "trl_loss_difference": max((_apart(one, other) for one, other in pairs), default=0.0),
        "trl_peak_mib": peak - (base.memory() >> 20),  # it loads the base anew
    }


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    return compare(ResidentBase.load(options.base, load_4bit=options.four_bit), options)


def compare(base: ResidentBase, options: argparse.Namespace) -> dict[str, Any]:
    """Sekft, its levers (``lever_steps`` = 0: none of them), TRL (unless ``no_trl``), the bound."""
    import torch

    rows = rows_of(base, options.batch * options.steps, RECIPE)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "adapter"
        ours, peak = with_peak(base.device, lambda: sekft(base, rows, options, start))
        all_levers = levers(base, rows, options, start) if options.lever_steps else ()
        off = {name: run.tokens_per_s for name, run in all_levers}
        theirs = {} if options.no_trl else trl_at_its_best(base, rows, options, start)
        if theirs:  # once more behind it: a machine whose speed drifts favours neither
            again = sekft(base, rows, options, start)
            if again.losses != ours.losses:
                raise SystemExit("two runs of the same steps had other losses")
            ours = run_of(rows, options.batch, (ours.seconds + again.seconds) / 2, ours.losses)
    timed = rows[options.batch :]
    tokens, trained = sum(map(len, timed)), sum(row.trained for row in timed)
    best = measure_bound(base)
    most, bare = (
        most_tokens_per_s(best.rate, best.layers, best.head, tokens, heads)
        for heads in (tokens, trained)
    )
    result = {
        "base": base.name,
        "quantised": base.quantised,
        "device": str(base.device),
        "threads": torch.get_num_threads(),
        "batch": options.batch,
        "micro_batch": options.micro_batch,
        "dropout": options.dropout,
        "steps": options.steps,
        "sekft": msgspec.to_builtins(ours),
        "peak_mib": {"sekft": peak},
        "matmul_gflops": round(best.rate / 1e9, 1),
        "bound_tokens_per_s": round(most, 1),
        "share_of_bound": round(ours.tokens_per_s / most, 3) if most else None,
        "share_without_spared_logits": round(ours.tokens_per_s / bare, 3) if bare else None,
        "levers": {
            name: {"tokens_per_s": round(speed, 1), "share": round(speed / off["none"], 3)}
            for name, speed in off.items()
        },
    }
    if theirs:
        result["peak_mib"] = {"sekft": peak, "trl": theirs.pop("trl_peak_mib")}
        result |= theirs
        result["ratio_trl"] = round(ours.tokens_per_s / theirs["trl"]["tokens_per_s"], 2)
        if not options.dropout:
            result["loss_difference"] = _apart(ours.losses, theirs["trl"]["losses"])
    return result


def show(result: dict[str, Any]) -> None:
    of = " in NF4" if result["quantised"] else ""
    drops = f", dropout {result['dropout']}" if result["dropout"] else ""
    print(f"{result['base']}{of}, {result['device']}, batches of {result['batch']}{drops}")
    print(f"{'':10}{'tokens/s':>10}{'trained/s':>11}{'peak MiB':>10}")
    for name in ("sekft", "trl"):
        if run := result.get(name):
            print(
                f"{name:10}{run['tokens_per_s']:>10.1f}{run['trained_per_s']:>11.1f}"
                f"{result['peak_mib'][name]:>10}"
            )
    print(
        f"{'bound':10}{result['bound_tokens_per_s']:>10.1f}   ({result['matmul_gflops']} GFLOP/s)"
    )
    print(f"share of the bound {result['share_of_bound']}")
    without = result["share_without_spared_logits"]
    print(f"the same without the head where no token is trained {without}")
    if "trl" in result:
        print(f"ratio to TRL {result['ratio_trl']}, at its best: {result['trl_best']}")
        for name, speed in result["trl_ways"].items():
            print(f"  {name:24}{speed:>9.1f} tokens/s in a few steps")
        for name, why in result["trl_failed"].items():
            print(f"  {name:24} failed: {why}")
        if not result["dropout"]:
            print(
                f"losses differ by at most {result['loss_difference']:.2g}, "
                f"TRL's ways among themselves by {result['trl_loss_difference']:.2g}"
            )
    if result["levers"]:
        print("\nwith one saving given up:")
    for name, lever in result["levers"].items():
        print(f"  {name:36}{lever['tokens_per_s']:>9.1f}{lever['share']:>8.2f}")
    for name in ("weights_mib", "swap_ms"):
        if name in result:
            print(f"{name.replace('_', ' ')} {result[name]}")


def options_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--steps", type=int, default=6, help="optimiser steps; the first warms up")
    parser.add_argument("--lever-steps", type=int, default=3, help="for each saving; 0 = none")
    parser.add_argument("--choose-steps", type=int, default=2, help="for each of TRL's ways")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.0, help="losses differ by its draws")
    parser.add_argument("--recompute", choices=("never", "always"), default="never")
    parser.add_argument("--threads", type=int, default=0, help="0 = as torch chooses")
    parser.add_argument("--four-bit", action="store_true", help="the base in NF4")
    parser.add_argument("--no-trl", action="store_true", help="TRL loads the base a second time")
    parser.add_argument("--gpu", action="store_true", help="a random 7B base in NF4")
    options = parser.parse_args(words)
    if min(options.steps, options.choose_steps, options.lever_steps or 2) < 2:
        parser.error("two steps at least: the first one warms up")
    return options


def main() -> None:
    options = options_of()
    if options.gpu:
        from benchmarks import large

        result = large.measure(options, "7b")
    else:
        result = measure(options)
    tell(result, show, as_json=options.json)


if __name__ == "__main__":
    run_main(main)

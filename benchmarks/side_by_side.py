"""Two adapters trained side by side on one base, as rows of one batch, against one after another.

Both ways make the same gradients for both adapters from the same rows (that is checked) with the
same number of rows in memory at once. Side by side, a frozen matrix is multiplied once with the
rows of both, and each adapter's own small matrices with its rows alone. The ratio is the time of
one after another over that of side by side: above 1 it pays. Passes are interleaved, so that
whatever else the machine does is shared by both.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.shared.given import rows_of
from benchmarks.shared.report import arguments, run_main, tell
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import TrainRow

RECIPE = Recipe(dropout=0, heldout=0)
NAMES = ("one", "two")


def gradients(base: ResidentBase, rows: Sequence[TrainRow], adapters: Sequence[str]) -> None:
    """Add the gradients of the summed loss of ``rows``, each under the adapter beside it."""
    import torch
    import torch.nn.functional as functional

    longest = max(map(len, rows))
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row.ids
    owners = np.repeat(np.arange(len(rows)), [row.trained for row in rows])
    columns = np.concatenate([row.at for row in rows]).astype(np.int64)
    mixed = len(set(adapters)) > 1
    slots = [base.slot(name) for name in adapters]
    hooks = base.peft._enable_peft_forward_hooks  # noqa: SLF001 - what its forward itself uses
    with hooks(adapter_names=slots) if mixed else contextlib.nullcontext():
        hidden = base.model.base_model(input_ids=torch.from_numpy(ids)[:, :-1], use_cache=False)
    places = hidden.last_hidden_state[torch.from_numpy(owners), torch.from_numpy(columns)]
    logits = base.model.get_output_embeddings()(places)
    targets = torch.from_numpy(ids[owners, columns + 1])
    loss = functional.cross_entropy(logits.float(), targets, reduction="sum")
    torch.autograd.backward(loss)


def weights_of(base: ResidentBase, name: str) -> list[Any]:
    slot = f".{base.slot(name)}."
    return [tensor for key, tensor in base.model.named_parameters() if slot in key]


def one_after_another(base: ResidentBase, rows: Sequence[TrainRow]) -> None:
    for name in NAMES:
        base.trainable(name)
        base.model.eval()  # no dropout: the same as in training
        gradients(base, rows, [name] * len(rows))


def side_by_side(base: ResidentBase, rows: Sequence[TrainRow]) -> None:
    """Half as many rows of each adapter at a time, twice."""
    base.activate(NAMES[0])
    base.peft.eval()
    for name in NAMES:
        for tensor in weights_of(base, name):
            tensor.requires_grad_(requires_grad=True)
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        gradients(base, [*part, *part], [name for name in NAMES for _ in part])


def taken(base: ResidentBase) -> list[Any]:
    """The gradients of both adapters, which are then gone."""
    found = []
    for name in NAMES:
        for tensor in weights_of(base, name):
            found.append(tensor.grad.clone())
            tensor.grad = None
    return found


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the wall and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--rows", type=int, default=4, help="rows per forward pass")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    base = ResidentBase.load(options.base)
    rows = sorted(rows_of(base, options.rows * 3, RECIPE), key=len)[: options.rows]
    for name in NAMES:
        base.new_adapter(name, RECIPE)
    ways = {"one_after_another": one_after_another, "side_by_side": side_by_side}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    found = {}
    for number in range(options.rounds + 1):
        for name, way in ways.items():
            spent = timed(lambda way=way: way(base, rows))  # type: ignore[misc]
            found[name] = taken(base)
            if number:  # the first one warms up
                seconds[name].append(spent)
    pairs = zip(found["one_after_another"], found["side_by_side"], strict=True)
    scale = max(float(one.abs().max()) for one in found["one_after_another"])
    difference = max(float((one - other).abs().max()) for one, other in pairs) / scale
    result = {
        "rows": len(rows),
        "tokens": sum(map(len, rows)),
        "gradient_difference": difference,
        "wall_s": {name: _median(values, 0) for name, values in seconds.items()},
        "cpu_s": {name: _median(values, 1) for name, values in seconds.items()},
        "ratio_wall": _ratio(seconds, 0),
        "ratio_cpu": _ratio(seconds, 1),
    }
    tell(result, lambda found: print(_table(found)), as_json=options.json)


def _median(values: list[tuple[float, float]], which: int) -> float:
    return round(statistics.median(one[which] for one in values), 4)


def _ratio(seconds: dict[str, list[tuple[float, float]]], which: int) -> float:
    pairs = zip(seconds["one_after_another"], seconds["side_by_side"], strict=True)
    return round(statistics.median(one[which] / other[which] for one, other in pairs), 3)


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['rows']} rows, {result['tokens']} tokens, for each of two adapters"]
    for name, wall in result["wall_s"].items():
        lines.append(
            f"  {name.replace('_', ' '):<20} {wall:.2f} s, CPU {result['cpu_s'][name]:.2f} s"
        )
    lines.append(f"  ratio {result['ratio_wall']:.2f} (wall), {result['ratio_cpu']:.2f} (CPU time)")
    lines.append(f"  gradients differ by {result['gradient_difference']:.1e} of the largest one")
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)

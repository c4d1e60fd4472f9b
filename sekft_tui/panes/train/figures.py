"""The lines below the chart: progress, losses, speed and memory."""

from __future__ import annotations

from rich.cells import cell_len

from sekft_engine.training.run.roofline import most_tokens_per_s
from sekft_tui.model.measures import TITLES
from sekft_tui.model.training import TrainView
from sekft_tui.text import (
    Parts,
    bar,
    clip,
    clip_left,
    duration,
    memory_text,
    percent,
    short_number,
    short_path,
    visible,
)

#: Up to this width gauges are short, and memory is shown in figures alone.
NARROW = 96
GAUGE, SHORT_GAUGE = 8, 5
#: Speed is averaged over this many steps: single steps differ too much.
RECENT = 10
#: A run stalls once a step takes so many times what the last one took, and so many seconds.
STALLED, STALLED_S = 5.0, 60.0


def lines(train: TrainView, active: bool, width: int, waited: float = 0.0) -> tuple[Parts, ...]:
    """Four lines of at most ``width`` cells; ``waited`` is the seconds since the last step."""
    if train.last is None:
        return ((), (), _machine(train, width), ())
    if train.resuming and active:
        said = f" {train.run} is being resumed: step {train.step} was its last "
        return (((clip(visible(said), width), "quiet"),), (), _machine(train, width), ())
    return (
        _progress(train, active, width, waited),
        fitting(_numbers(train), width),
        _machine(train, width),
        _warnings_and_saves(train, width),
    )


def fitting(figures: list[tuple[str, str]], width: int) -> Parts:
    """Names and values; what does not fit whole is left out."""
    parts: list[tuple[str, str]] = []
    used = 0
    for name, value in figures:
        size = len(name) + len(value) + 3
        if used + size > width:
            break
        parts += [(f" {name} ", "quiet"), (f"{value} ", "strong")]
        used += size
    return tuple(parts)


def _progress(train: TrainView, active: bool, width: int, waited: float) -> Parts:
    last = train.last
    if last is None:
        return ()
    # After the last step it may measure for minutes: the pane's head says what and how far.
    going_on = active and last.step < last.steps
    left = f"   ETA {duration(last.eta_s)}" if going_on else ""
    if going_on and waited > max(STALLED_S, STALLED * last.seconds):
        left = f"   no step for {duration(waited)}"
    head = f" step {last.step:,}/{last.steps:,} "
    tail = f" {percent(last.step, last.steps)}{left}   {duration(last.seconds)}/step "
    share = last.step / last.steps if last.steps else 0.0
    filled, empty = bar(share, max(0, width - len(head) - len(tail)))
    return ((head, "strong"), (filled, "accent"), (empty, "rule"), (tail, "quiet"))


def _numbers(train: TrainView) -> list[tuple[str, str]]:
    last = train.last
    if last is None:
        return []
    steps, losses = train.heldout.view()
    rates = train.rates.rows()
    figures = [("loss", f"{last.loss:.4f}")]
    if len(steps):
        figures.append(("held-out", f"{losses[-1]:.4f} @{int(steps[-1])}"))
    if rates.shape[1]:
        figures.append((TITLES["clean_termination"], f"{rates[-1, -1]:.0%} of {int(rates[1, -1])}"))
    figures += [
        ("lr", f"{last.lr:.2e}"),
        ("grad norm", f"{last.grad_norm:.3f}"),
        ("epoch", f"{last.epoch:.2f}"),
        ("trained tokens", short_number(float(train.column("trained")[-1]))),
    ]
    return figures


def speed(train: TrainView) -> tuple[float, float]:
    """Tokens per second over the last steps, and the share of the roofline; 0 = not known."""
    tokens, trained, seconds = (train.column(name) for name in ("tokens", "trained", "seconds"))
    size = min(map(len, (tokens, trained, seconds)))
    if not size:
        return 0.0, 0.0
    since = max(0, size - 1 - RECENT)
    first = since == 0 and size <= RECENT
    spent = seconds[size - 1] - (0.0 if first else seconds[since])
    done = tokens[size - 1] - (0.0 if first else tokens[since])
    trained_now = trained[size - 1] - (0.0 if first else trained[since])
    rate = float(done / spent) if spent > 0 else 0.0
    bound = train.bound
    if bound is None:
        return rate, 0.0
    most = most_tokens_per_s(bound.rate, bound.layers, bound.head, int(done), int(trained_now))
    return rate, rate / most if most else 0.0


def _machine(train: TrainView, width: int) -> Parts:
    """Speed against the roofline, processors or GPU, memory."""
    parts: list[tuple[tuple[str, str], ...]] = []
    cells = GAUGE if width > NARROW else SHORT_GAUGE
    rate, share = speed(train)
    if rate:
        parts.append(_figure("tok/s", short_number(rate)))
    if share:
        parts.append((*_gauge(share, cells), (f"{share:.0%} of bound ", "strong")))
    machine = train.machine
    if machine is not None:
        gpu = machine.gpu
        if gpu is not None:
            parts.append((*_gauge(gpu.busy, cells, "GPU"), (f"{gpu.busy:.0%} ", "strong")))
            used = memory_text(gpu.used, gpu.total)
            full = gpu.used / gpu.total if gpu.total else 0.0
            parts.append((*_gauge(full, cells, "memory"), (f"{used} ", "strong")))
            if gpu.watts:
                parts.append(_figure("", f"{gpu.watts:.0f} W {gpu.celsius}°"))
            parts.append(_figure("our peak", memory_text(machine.cuda_most)))
        else:
            parts.append((*_gauge(machine.cpu, cells, "CPU"), (f"{machine.cpu:.0%} ", "strong")))
            full = machine.rss / machine.memory if machine.memory else 0.0
            used = memory_text(machine.rss, machine.memory)
            gauge = _gauge(full, cells, "memory") if width > NARROW else ((" memory ", "quiet"),)
            parts.append((*gauge, (f"{used} ", "strong")))
            parts.append(_figure("peak", memory_text(machine.rss_most)))
    out: list[tuple[str, str]] = []
    used_cells = 0
    for part in parts:
        size = sum(len(text) for text, _ in part)
        if used_cells + size > width:
            break
        out += part
        used_cells += size
    return tuple(out)


def _figure(name: str, value: str) -> tuple[tuple[str, str], ...]:
    return ((f" {name} " if name else " ", "quiet"), (f"{value} ", "strong"))


def _gauge(share: float, cells: int, name: str = "") -> tuple[tuple[str, str], ...]:
    filled, empty = bar(share, cells)
    style = "warn" if name == "memory" and share > 0.92 else "accent"
    return ((f" {name} " if name else " ", "quiet"), (filled, style), (empty, "rule"), (" ", ""))


def _warnings_and_saves(train: TrainView, width: int) -> Parts:
    """Warnings, after which step it was resumed, and the last checkpoint."""
    bad = [mark for mark in train.marks if mark.kind in ("bad", "sign")]
    worst = next((mark for mark in bad if mark.kind == "bad"), bad[-1] if bad else None)
    parts: list[tuple[str, str]] = []
    if worst is not None:
        style = "bad" if worst.kind == "bad" else "warn"
        sign = "×" if worst.kind == "bad" else "!"
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        parts.append((clip(f" {sign} step {worst.step}: {worst.text}{more} ", width), style))
        width -= cell_len(parts[0][0])
    if train.resumed_after >= 0:
        parts.append((clip(f" resumed after step {train.resumed_after} ", width), "accent"))
        width -= cell_len(parts[-1][0])
    if train.adapter and width > 30:
        saved = f" saved at step {train.saved_step}: "
        path = clip_left(short_path(train.adapter), width - len(saved))
        parts += [(saved, "good"), (path, "text")]
    return tuple(parts)

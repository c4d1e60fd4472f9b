"""What is told of the workbench's answers: a line for each state, the table, and the ratios."""

from __future__ import annotations

from typing import Any

#: The first keys of browsing, which meet the loading of the tokenizer, are told by themselves, too.
FIRST_KEYS = 30
_BEGAN = (("", "s"), ("", "cpu_s"), ("next_", "s"), ("next_", "cpu_s"))


def rounded(told: dict[str, float]) -> str:
    """The figures of one state, in a line."""
    return ", ".join(f"{what} {value:.2f}" for what, value in told.items())


def ratios(paint: dict[str, float], told: dict[str, dict[str, float]]) -> dict[str, float]:
    """Peer / sekft at one size: more than 1 means that sekft is quicker, or sends less."""

    def ratio(peer: str, state: str, what: str) -> float:
        return round(told[peer][what] / max(1e-9, told[state][what]), 2)

    return {
        "ratio_minimal_first_paint": round(paint["minimal"] / paint["sekft"], 2),
        "ratio_minimal_first_paint_cpu": round(paint["minimal_cpu"] / paint["sekft_cpu"], 2),
        "ratio_optionlist_first_rows": ratio("OptionList", "browsing", "first_rows_s"),
        "ratio_optionlist_key_p50": ratio("OptionList", "browsing", "key_p50_ms"),
        "ratio_richlog_key_p50": ratio("RichLog", "train", "key_p50_ms"),
        "ratio_richlog_key_p95": ratio("RichLog", "train", "key_p95_ms"),
        "ratio_richlog_bytes": ratio("RichLog", "train", "bytes_per_s"),
    }


def show(result: dict[str, Any]) -> None:
    """Print the document as a table."""
    for size, told in result["sizes"].items():
        painted = told["first_paint_s"]
        ours, theirs = painted["sekft"], painted["minimal"]
        cpu, their_cpu = painted["sekft_cpu"], painted["minimal_cpu"]
        print(
            f"{size}: first paint {ours:.2f} s ({cpu:.2f} s of processor time); "
            f"a minimal app {theirs:.2f} s ({their_cpu:.2f} s)"
        )
        print(f"  {'':12}{'key p50 ms':>12}{'key p95 ms':>12}{'bytes/s':>10}{'first rows s':>14}")
        for name, state in told["states"].items():
            rows = f"{state['first_rows_s']:>14.2f}" if "first_rows_s" in state else ""
            if "first_keys_p95_ms" in state:
                rows += f"   p95 of the first {FIRST_KEYS} keys {state['first_keys_p95_ms']:.1f} ms"
            if "first_step_s" in state:
                first, again = state["first_step_s"], state["next_first_step_s"]
                rows += f"   first step after {first:.1f} s, of a second run {again:.1f} s"
                begins = [state[f"{run}first_step_begins_{unit}"] for run, unit in _BEGAN]
                rows += (
                    "; it begins after {:.1f} s ({:.1f} s of processor time) and {:.1f} ({:.1f})"
                )
                rows = rows.format(*begins)
            print(
                f"  {name:12}{state['key_p50_ms']:>12.1f}{state['key_p95_ms']:>12.1f}"
                f"{state['bytes_per_s']:>10.0f}{rows}"
            )
    slow = result["slow_line_settled_s"]
    print(
        f"still after keys over 20 kB/s: {slow['sekft']:.1f} s, "
        f"an OptionList of 100,000 rows {slow['OptionList']:.1f} s"
    )
    print("peer / sekft at the larger size:")
    for name, value in result.items():
        if name.startswith("ratio_"):
            print(f"  {name.removeprefix('ratio_').replace('_', ' '):28}{value:>8.2f}x")

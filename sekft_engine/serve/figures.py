"""Counts of what a server does, as Prometheus reads them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from sekft_engine.serve.generation import Generation

#: How an answer ended.
Outcome = Literal["stop", "length", "left", "failed", "refused"]
#: Upper bounds of histograms, in seconds.
_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
#: The share of the newest answer in the mean time of an answer.
_NEWEST = 0.2


class Histogram:
    """Counts of seconds up to each bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        at = next((at for at, bound in enumerate(_BOUNDS) if seconds <= bound), len(_BOUNDS))
        self._counts[at] += 1
        self._sum += seconds

    def lines(self, name: str) -> Iterator[str]:
        total = 0
        for bound, count in zip((*_BOUNDS, math.inf), self._counts, strict=True):
            total += count
            shown = "+Inf" if math.isinf(bound) else f"{bound:g}"
            yield f'{name}_bucket{{le="{shown}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class Figures:
    """The counts of a server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._prompt = self._shared = self._sampled = 0
        self._first, self._whole = Histogram(), Histogram()
        self._mean = 1.0

    def count(self, outcome: Outcome) -> None:
        """Count an answer that was not given."""
        with self._lock:
            self._ends[outcome] += 1

    def finished(self, generation: Generation, shared: int) -> None:
        """Count an answer; ``shared`` ids of its prompt did not go through the model again."""
        now = time.monotonic()
        with self._lock:
            self._ends[generation.outcome] += 1
            self._models[generation.asked.model] += 1
            self._prompt += len(generation.asked.ids)
            self._shared += shared
            self._sampled += generation.count
            if generation.first:
                self._first.add(generation.first - generation.arrived)
            self._whole.add(now - generation.arrived)
            self._mean += _NEWEST * (now - generation.arrived - self._mean)

    def retry_after(self, waiting: int, rows: int) -> int:
        """Seconds after which a place in the queue is likely."""
        with self._lock:
            return min(60, max(1, math.ceil(self._mean * waiting / max(1, rows) / 2)))

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All of it in Prometheus' text format.

        Args:
            gauges: name -> (what it is, its value now).
        """
        lines: list[str] = []
        for name, (about, value) in gauges.items():
            lines += [*_head(name, about, "gauge"), f"sekft:{name} {value:g}"]
        with self._lock:
            lines += _head("request_success_total", "Answers by how they ended.", "counter")
            for reason in ("stop", "length"):
                count = self._ends[reason]
                lines.append(f'sekft:request_success_total{{finished_reason="{reason}"}} {count}')
            lines += _head("request_lost_total", "Requests without an answer.", "counter")
            for reason in ("left", "failed", "refused"):
                lines.append(f'sekft:request_lost_total{{reason="{reason}"}} {self._ends[reason]}')
            lines += _head("model_requests_total", "Answers by model.", "counter")
            for model, count in sorted(self._models.items()):
                lines.append(f'sekft:model_requests_total{{model_name="{_label(model)}"}} {count}')
            for name, about, value in (
                ("prompt_tokens_total", "Tokens of prompts.", self._prompt),
                ("prefix_cache_hits_total", "Tokens of prompts that were there.", self._shared),
                ("generation_tokens_total", "Tokens of answers.", self._sampled),
            ):
                lines += [*_head(name, about, "counter"), f"sekft:{name} {value}"]
            for name, about, histogram in (
                ("time_to_first_token_seconds", "From arrival to the first token.", self._first),
                ("e2e_request_latency_seconds", "From arrival to the end.", self._whole),
            ):
                lines += [*_head(name, about, "histogram"), *histogram.lines(f"sekft:{name}")]
        return "\n".join(lines) + "\n"


def _head(name: str, about: str, kind: str) -> list[str]:
    return [f"# HELP sekft:{name} {about}", f"# TYPE sekft:{name} {kind}"]


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

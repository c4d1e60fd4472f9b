"""The model card: recipe, data, mask, eval, and what all of it can be checked by.

Front matter is YAML, of which JSON is a part: every value is written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sekft_engine.bases.store import read_record
from sekft_engine.core.text import visible
from sekft_engine.episodes.verdict import MEASURES
from sekft_engine.export.source import ExportedAdapter
from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.runs import DataFacts, RunInfo, read_events
from sekft_engine.records.trainings import TrainResult

_LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "cc-by-4.0"}


def model_card(source: ExportedAdapter, *, merged: bool) -> str:
    """``README.md`` for a Hub repository that holds the adapter, or the ``merged`` model."""
    parts = [
        _front_matter(source, merged=merged),
        f"# {_text(source.name)}",
        _what(source, merged=merged),
        _use(source, merged=merged),
        _data(source),
        _training(source),
        _evaluation(source),
        _digests(source),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def base_title(source: ExportedAdapter) -> str:
    """The base's name as the world knows it, where that was recorded."""
    record = read_record(source.base)
    return (record.title if record else "") or source.meta.base or source.base.name


def _front_matter(source: ExportedAdapter, *, merged: bool) -> str:
    record = read_record(source.base)
    fields: dict[str, Any] = {
        "base_model": base_title(source),
        "base_model_relation": "merge" if merged else "adapter",
        "library_name": "transformers" if merged else "peft",
        "pipeline_tag": "text-generation",
        "tags": ["sekft", "shell", "lora", "sft"],
    }
    licence = (record.licence if record else "").lower()
    if licence:
        fields["license"] = licence if licence in _LICENCES else "other"
    if source.run is not None and source.run.facts.data.hub:
        fields["datasets"] = [source.run.facts.data.hub]
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _what(source: ExportedAdapter, *, merged: bool) -> str:
    made = "The base with a LoRA adapter merged into it" if merged else "A LoRA adapter"
    return (
        f"{made}, trained to operate a POSIX shell at a bare prompt: every turn of the model is "
        f"typed as a command, and it leaves by itself. Base: `{_code(base_title(source))}`."
    )


def _use(source: ExportedAdapter, *, merged: bool) -> str:
    prompt = source.meta.dialect.get("prompt")
    if merged:
        load = 'AutoModelForCausalLM.from_pretrained("this repository")'
    else:
        load = 'PeftModel.from_pretrained(base, "this repository")'
    lines = ["## Use", f"```python\nmodel = {load}\n```"]
    if prompt:
        lines.append(
            "The user turn is what the terminal shows, ending in the prompt "
            f"`{_code(str(prompt))}`; the assistant turn is the command. There is no system prompt."
        )
    return "\n\n".join(lines)


def _data(source: ExportedAdapter) -> str:
    data = _data_facts(source)
    rows = _rows_ready(source.run)
    facts: list[tuple[str, Any]] = []
    if data is not None:
        path = data.path or data.source
        where = data.hub or (Path(path).name if path else "")
        facts += [("data", where), ("digest of its rows (SHA-256)", data.sha256)]
    if rows is not None:
        share = rows.trained_tokens / max(1, rows.tokens)
        facts += [
            ("trajectories", rows.kept),
            ("of them held out", rows.heldout),
            ("tokens in training rows", f"{rows.tokens:,}"),
            ("of them trained", f"{rows.trained_tokens:,} ({share:.1%})"),
            ("dropped", sum(rows.dropped.values())),
        ]
        facts += [(f"dropped: {reason}", count) for reason, count in rows.dropped.items()]
    if not facts:
        return ""
    mask = (
        "Trained are the commands and the token that ends each of these turns; all else (what the "
        "shell printed, the prompt) is masked. A session that could not be rendered without doubt "
        "was dropped as a whole."
    )
    return "\n\n".join(["## Data and mask", mask, _table(("", ""), facts)])


def _training(source: ExportedAdapter) -> str:
    recipe = source.meta.recipe or (source.run.about.get("recipe", {}) if source.run else {})
    if not recipe:
        return ""
    facts: list[tuple[str, Any]] = [("step of this adapter", source.meta.step or None)]
    result = source.run.result if source.run is not None else None
    if isinstance(result, TrainResult):
        facts = [
            ("steps", result.steps),
            *facts,
            ("trained tokens seen", result.trained_tokens),
            ("first loss", _figure(result.loss.first)),
            ("last loss", _figure(result.loss.last)),
            ("held-out loss", _figure(result.loss.heldout)),
            ("seconds", _figure(result.seconds)),
        ]
    known = [(name, value) for name, value in facts if value not in (None, "")]
    parts = ["## Training"]
    if known:
        parts.append(_table(("", ""), known))
    return "\n\n".join([*parts, _table(("recipe", ""), recipe.items())])


def _evaluation(source: ExportedAdapter) -> str:
    tables = [_eval_table(info) for info in source.evals]
    if not tables:
        return "## Evaluation\n\nNo eval of this adapter is recorded."
    how = (
        "Episodes in sandboxed worlds, at a bare prompt; counts, and in brackets the 95 % Wilson "
        "intervals of the rates."
    )
    return "\n\n".join(["## Evaluation", how, *tables])


def _eval_table(info: RunInfo) -> str:
    head = ("model", "n", *(measure.replace("_", " ") for measure in MEASURES))
    rows: list[Sequence[Any]] = []
    for subject in info.result.subjects if isinstance(info.result, EvalResult) else ():
        cells = []
        for measure in MEASURES:
            low, high = subject.intervals.get(measure, (0.0, 1.0))
            cells.append(f"{subject.count(measure)} [{low:.0%}, {high:.0%}]")
        rows.append((subject.name, subject.n, *cells))
    about = info.about
    named = ("scenarios_digest", "seed", "temperature", "step_cap", "turn_tokens", "world")
    how = ", ".join(
        f"{name.replace('_', ' ')} {str(about[name])[:16]}" for name in named if name in about
    )
    worlds = Path(str(about.get("scenarios", ""))).name
    return "\n\n".join(
        [_table(head, rows), f"Run {_text(info.id)}, {_text(worlds)}: {_text(how)}."]
    )


def _digests(source: ExportedAdapter) -> str:
    meta = source.meta
    facts = [
        ("adapter (SHA-256)", source.digest),
        ("base (SHA-256)", meta.base_digest),
        *((f"render: {name}", digest) for name, digest in meta.render.items()),
        *((f"version of {name}", version) for name, version in meta.versions.items()),
    ]
    return "\n\n".join(["## Digests", _table(("", ""), [fact for fact in facts if fact[1]])])


# --- facts ----------------------------------------------------------------------------------------


def _data_facts(source: ExportedAdapter) -> DataFacts | None:
    """What the run recorded of its data, else what the adapter's ``sekft.json`` says."""
    if source.run is not None and source.run.facts.data != DataFacts():
        return source.run.facts.data
    recorded = source.meta.data
    if not recorded:
        return None
    return DataFacts(source=str(recorded.get("from", "")), sha256=str(recorded.get("sha256", "")))


def _rows_ready(run: RunInfo | None) -> events.RowsReady | None:
    if run is None:
        return None
    ready = (event for event in read_events(run.events_path) if isinstance(event, events.RowsReady))
    return next(reversed(list(ready)), None)


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


# --- Markdown -------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]] | Mapping[str, Any]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_text(cell) for cell in line) + " |" for line in lines)


def _text(value: Any) -> str:
    """Anything as text that is no Markdown and no HTML, in one line."""
    text = visible(" ".join(str(value).split()))
    return "".join(
        f"\\{letter}" if letter in "\\`*_[]<>|#" and text != "---" else letter for letter in text
    )


def _code(text: str) -> str:
    return visible(text).replace("`", "'")

"""Every family of models trains, resumes, acts and is exported as plain transformers does it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.bases.layers import stored_share
from sekft_engine.data.recipe import Recipe
from sekft_engine.engine.engine import Engine
from sekft_engine.model.family import expected_share, family_of
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.records import jobs
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.events import BaseLoaded, Event, StepDone
from sekft_engine.records.runs import read_run
from sekft_engine.training.trainer.batches import learning_rate, plan_steps
from sekft_engine.training.trainer.data import TrainRow, load_data
from sekft_engine.training.trainer.loss import trained_token_logits
from sekft_engine.training.trainer.trainer import Trainer
from sekft_engine.work.context import Stopped
from tests.documents import run_document
from tests.families.models import FAMILIES, class_of, save_base

RECIPE = Recipe(
    rank=2, alpha=4, lr=0.01, dropout=0.0, batch=2, micro_batch=2, max_steps=3, heldout=0,
    token_losses=0, recompute="never",
)  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_trains_resumes_acts_and_is_exported(
    name: str, tmp_path: Path, tokenizer: Path, sessions: Path, bundles: Path
) -> None:
    folder = save_base(name, tmp_path / name, tokenizer)
    engine = Engine().start()
    losses: dict[int, float] = {}
    loads: list[BaseLoaded] = []

    def watch(event: Event) -> None:
        if isinstance(event, BaseLoaded):
            loads.append(event)
        if isinstance(event, StepDone):
            assert event.step not in losses, "a step is done once"
            losses[event.step] = event.loss
            if event.step == 2:
                engine.cancel(after_step=True)

    engine.subscribe(watch)
    run = tmp_path / "run"
    train = jobs.Train(
        base=str(folder), data=str(sessions), out=str(run), recipe=RECIPE, resume=True
    )
    try:
        with pytest.raises(Stopped):
            run_document(train, engine=engine)
        result = run_document(train, engine=engine)
        act = jobs.Evaluate(
            base=str(folder), adapters=(str(run),), scenarios=str(bundles), n=1, step_cap=2,
            turn_tokens=3, out=str(tmp_path / "eval"),
        )  # fmt: skip
        report = run_document(act, engine=engine)
    finally:
        engine.close()
    assert len(loads) == 1
    assert result["resumed"] is True
    assert [losses[step] for step in sorted(losses)] == pytest.approx(
        peer_losses(name, folder, sessions, tmp_path / "start"), abs=2e-5
    )
    assert [(subject["n"], subject["invalid"]) for subject in report["subjects"]] == [(1, 0)] * 2
    merged = run_document(jobs.Export(source=str(run), target=str(tmp_path / "merged")))
    assert merged["proof"]["same_choice"] > 0.9
    assert merged["proof"]["adapter_effect"] > 1e-3
    recorded = read_run(run).facts.base.adapted
    assert recorded == expected_share(folder, "all-linear")
    assert bool(recorded.experts) == FAMILIES[name].experts


def peer_losses(name: str, folder: Path, sessions: Path, start: Path) -> list[float]:
    """The losses of a plain loop: the class of transformers, PEFT, one row at a time, AdamW."""
    import torch
    import transformers
    from peft import PeftModel

    base = ResidentBase.load(folder)
    base.new_adapter("a", RECIPE)
    base.save_adapter("a", start, AdapterMeta())
    data = load_data(str(sessions), "", base.tokenizer, RECIPE)
    kind: Any = getattr(transformers, class_of(name))
    model = PeftModel.from_pretrained(
        kind.from_pretrained(folder, dtype=torch.float32), start, is_trainable=True
    )
    model.eval()  # some classes demand inputs about images in training, and dropout is 0
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, weight_decay=RECIPE.weight_decay)
    plan = plan_steps(len(data.train), RECIPE)
    told = []
    for step, batch in enumerate(plan, 1):
        rows = [data.train[number] for number in batch]
        trained = sum(row.trained for row in rows)
        total = 0.0
        for row in rows:
            loss = summed_loss(model, row)
            (loss / trained).backward()
            total += float(loss.detach())
        told.append(total / trained)
        torch.nn.utils.clip_grad_norm_(weights, RECIPE.clip)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, len(plan), RECIPE)
        optimiser.step()
        optimiser.zero_grad()
    return told


def summed_loss(model: Any, row: TrainRow) -> Any:
    import torch

    ids = torch.tensor(row.ids.astype("int64"))[None]
    at = torch.tensor(row.at.astype("int64"))
    logits = model(input_ids=ids, use_cache=False).logits[0]
    return torch.nn.functional.cross_entropy(logits[at], ids[0, at + 1], reduction="sum")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_computed_as_the_table_says(
    name: str, tmp_path: Path, tokenizer: Path, sessions: Path
) -> None:
    """In four bits too: such a base loads, trains a step, and is decoded."""
    folder = save_base(name, tmp_path / name, tokenizer)
    family = FAMILIES[name]
    found = family_of(folder)
    assert found.model_class.__name__ == class_of(name)
    assert all(weight.is_meta for weight in found.skeleton.parameters())
    base = ResidentBase.load(folder, load_4bit=True)
    decoding = choose_decoding(base.model, [2], context=2048)
    assert bool(decoding.why) == (family.rows == "one by one"), decoding.why
    logits = trained_token_logits(base.model)
    assert logits.packs == family.packs
    base.new_adapter("a", RECIPE)
    assert base.reach("a") == expected_share(folder, "all-linear")
    stored = stored_share(folder, "all-linear")
    assert stored is not None
    known = base.reach("a")
    # Mamba's kernels read weights past their layers, and PEFT takes a shared expert's layers for
    # the fused ones: no file shows either.
    if name not in ("mamba", "qwen3_next"):
        assert stored.share == pytest.approx(known.share, rel=0.1)
        assert stored.experts == pytest.approx(known.experts, rel=0.1)
    assert not any("vision" in key for key in base.model.state_dict() if "lora_" in key)
    data = load_data(str(sessions), "", base.tokenizer, RECIPE)
    (step,) = Trainer(base, "a", data, msgspec.structs.replace(RECIPE, max_steps=1)).steps()
    assert 0 < step.loss < math.inf
    assert 0 < step.grad_norm < math.inf

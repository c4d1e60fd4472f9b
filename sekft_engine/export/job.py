"""The export job: an adapter in, a folder out, put in its place whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import file_sha256, staged_folder
from sekft_engine.export.card import base_title, model_card
from sekft_engine.export.gguf_ready import make_ready
from sekft_engine.export.merge import copy_licence, merge
from sekft_engine.export.source import ExportedAdapter, find_source
from sekft_engine.model.device import choose_device, out_of_memory
from sekft_engine.model.imports import import_torch
from sekft_engine.records import jobs
from sekft_engine.records.adapters import CONFIG, META, WEIGHTS
from sekft_engine.records.exports import ExportedFile, ExportResult, Proof, Readiness
from sekft_engine.records.precision import trained_in_4bit
from sekft_engine.work.context import Context

if TYPE_CHECKING:
    import torch

#: The file in a merged folder that says which adapter, run and base it was made from.
RECORD = "sekft-merged.json"
ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


def run_export(job: jobs.Export, context: Context) -> ExportResult:
    """Write the folder and return the document of ``sekft export``."""
    target = Path(job.target).expanduser().absolute()
    if target.exists():
        raise BadInput("already there", where=str(target), mend="choose another name")
    source = find_source(job.source, context.workspace, job.base)
    place = _place(job)
    trained_4bit = trained_in_4bit(source.adapter)
    if trained_4bit and job.kind != "adapter":
        context.log(
            "the adapter was trained on the base in 4 bits and is merged into it in full "
            "precision, so it may act otherwise than it learnt",
            "warning",
        )
    proof: Proof | UnsetType = UNSET
    gguf: Readiness | UnsetType = UNSET
    evals: list[str] | UnsetType = UNSET
    with staged_folder(target) as stage:
        if job.kind == "adapter":
            _adapter(source, stage)
        else:
            proof = merged = _merged(source, stage, job, context, place)
            _record(source, stage, merged)
        if job.kind == "gguf":
            gguf = make_ready(stage)
        if job.card:
            card = model_card(source, merged=job.kind != "adapter")
            (stage / "README.md").write_text(card, encoding="utf-8")
            (stage / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
            evals = [info.id for info in source.evals]
        files = {
            path.name: ExportedFile(bytes=path.stat().st_size, sha256=file_sha256(path))
            for path in sorted(stage.iterdir())
        }
    return ExportResult(
        kind=job.kind,
        adapter=str(source.adapter),
        adapter_sha256=source.digest,
        base=str(source.base),
        run=source.run.id if source.run is not None else None,
        target=str(target),
        proof=proof,
        gguf=gguf,
        evals=evals,
        files=files,
        device=str(place) if proof is not UNSET else UNSET,
        trained_4bit=UNSET if trained_4bit is None else trained_4bit,
    )


def _place(job: jobs.Export) -> torch.device | None:
    """Where the weights are merged; None = nowhere, since an adapter stays as it is.

    Raises:
        BadInput: there is no such device here.
    """
    if job.kind == "adapter":
        return None
    import_torch()
    return choose_device(job.device)


def _merged(
    source: ExportedAdapter,
    stage: Path,
    job: jobs.Export,
    context: Context,
    place: torch.device | None,
) -> Proof:
    try:
        return merge(
            source, stage, dtype=job.dtype, place=place, report=context.progress, log=context.log
        )
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        way_out = "use a machine with more memory"
        if job.device != "cpu":
            way_out = "leave --device out, and it is merged in main memory"
        raise Unavailable(
            "memory does not suffice to merge in float32", where=str(place), mend=way_out
        ) from error


def _adapter(source: ExportedAdapter, stage: Path) -> None:
    """Plain PEFT, with the base's name in place of where it lay on this machine."""
    for name in (WEIGHTS, META):
        if (source.adapter / name).is_file():
            shutil.copy(source.adapter / name, stage / name)
    config = json.loads((source.adapter / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_title(source)
    (stage / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    copy_licence(source.base, stage)


def _record(source: ExportedAdapter, stage: Path, proof: Proof) -> None:
    record = msgspec.to_builtins(source.meta) | {
        "adapter_sha256": source.digest,
        "proof": msgspec.to_builtins(proof),
    }
    (stage / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

"""Convert a GGUF file to a plain folder: safetensors in bf16, tokenizer, chat template."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sekft_engine.core.errors import BadInput

Report = Callable[[str, int, int], None]

MAGIC = b"GGUF"

#: Raised when a conversion comes out differently, so that older ones in a cache are made anew.
CONVERTER_VERSION = 2


def convert_gguf(
    gguf: Path, folder: Path, *, context: int = 0, report: Report | None = None
) -> None:
    """Write the model in ``gguf`` to ``folder``.

    Args:
        gguf: the file; any quantisation that transformers can read.
        folder: an existing, empty folder.
        context: longest input in tokens; 0 = what the model's configuration says.
        report: called with (what, done, total) as tensors are read.
    """
    with gguf.open("rb") as file:
        if file.read(4) != MAGIC:
            raise BadInput("not a GGUF file", where=str(gguf))
    if report:
        report("converting", 0, 0)  # to import and to read the file take long, before any tensor
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
    with _quiet(report):
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
            read = AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), dtype=torch.float32, **source
            )
        except (ValueError, KeyError, NotImplementedError) as error:
            line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise BadInput(
                f"cannot read this GGUF: {line}",
                where=str(gguf),
                mend="use a model that transformers supports, or a safetensors folder",
            ) from error
        # What was read stays marked as quantised and refuses to be saved, so its weights move
        # into a model made from the plain configuration.
        plain = read.config.to_dict()
        plain.pop("quantization_config", None)
        plain.pop("_name_or_path", None)
        config = type(read.config).from_dict(plain)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        model.load_state_dict(read.state_dict(), strict=True)
        del read
        tokenizer.model_max_length = context or int(
            getattr(config, "max_position_embeddings", 0) or 8192
        )
        if report:
            report("writing safetensors", 0, 0)
        model.to(torch.bfloat16).save_pretrained(str(folder))
        _mend_pre_tokenizer(tokenizer, gguf)
        tokenizer.save_pretrained(str(folder))
    for path in folder.iterdir():
        path.chmod(0o644)


def _mend_pre_tokenizer(tokenizer: Any, gguf: Path) -> None:
    """Split digits one by one where the file says so: transformers overlooks that key, and then
    the same columns of numbers become other tokens than the base was trained on."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(str(gguf)).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )


@contextlib.contextmanager
def _quiet(report: Report | None) -> Iterator[None]:
    """Take the progress bars and warnings of transformers off the terminal, and report instead."""
    import transformers.modeling_gguf_pytorch_utils as reading
    from transformers.utils import logging

    def counted(items: Iterable[Any], **_options: Any) -> Iterator[Any]:
        rows = list(items)
        for number, item in enumerate(rows):
            if report and number % 8 == 0:
                report("converting", number, len(rows))
            yield item
        if report:
            report("converting", len(rows), len(rows))

    before = getattr(reading, "tqdm", None)
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    reading.tqdm = counted
    try:
        yield
    finally:
        reading.tqdm = before
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

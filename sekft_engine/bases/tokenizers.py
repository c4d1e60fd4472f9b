"""Write a base's ``tokenizer.json`` from its vendor's file, proven to give its ids, or mend it.

Older folders hold ``tokenizer.model`` (SentencePiece) and some of Mistral's only ``tekken.json``.
Everything here reads ``tokenizer.json``, as servers do, so these are converted once.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases.patterns import mended, wrong_pattern
from sekft_engine.core.documents import decode
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import write_whole

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
#: What vendors ship in the place of ``tokenizer.json``, the one that is preferred first.
TEKKEN, SENTENCEPIECE = "tekken.json", "tokenizer.model"
#: Small files that say which class of tokenizer reads ``tokenizer.model``.
_BESIDE = ("config.json", CONFIG, "special_tokens_map.json", "added_tokens.json")

#: Texts that converted tokenizers have been seen to cut in another way.
PROBES = (
    "ls -la /etc",
    "total 12\n-rw-r--r-- 1 user user  17 Jan  1 00:00 notes.txt\n$ ",
    "  two spaces, \t a tab,\r\nthree\n\n\nlines    and a run",
    "eBay mL NaOH pH McDonald HTTPServer getElementById iPhone12",
    "1234567890 3.14159 0x7f 2026-11-23T06:44:11Z",
    "don't can't we'll I'd they've it's DON'T",
    "grüße, naïve, Ελληνικά, русский, עברית, العربية, 日本語, 한국어",
    "👋🏽 👩\u200d💻 ½ ﬁ e\u0301 \u202e \u00a0 \ufeff",
    "for i in $(seq 1 9); do echo \"$i\" >> 'a b'.log; done && cat <<E >x",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ======== -------- ________ ////",
    " ",
    "x",
)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What was done for a folder.

    Attributes:
        path: of ``tokenizer.json``.
        how: converted, mended, or nothing to do.
        source: the file that it was made from; '' = none.
        proven: how many texts give the vendor's ids.
        note: what else there is to know; '' = nothing.
    """

    path: str
    how: str
    source: str = ""
    proven: int = 0
    note: str = ""


def convertible(folder: Path) -> str:
    """The vendor's file that ``tokenizer.json`` can be made from where it is missing; '' = none."""
    if (folder / TOKENIZER).exists():
        return ""
    return next((name for name in (TEKKEN, SENTENCEPIECE) if (folder / name).is_file()), "")


def missing_tokenizer(folder: Path) -> BadInput:
    """The error for a folder without ``tokenizer.json``."""
    mend = "fetch it from the base's own repository"
    if name := convertible(folder):
        mend = f"there is {name}, which converts: sekft base tokenizer {folder}"
    return BadInput(f"no {TOKENIZER} in this folder", where=str(folder), mend=mend)


def write_tokenizer(folder: Path) -> Written:
    """Convert or mend the tokenizer of the base in ``folder``.

    Raises:
        BadInput: there is nothing to convert, or the outcome is not proven equal to the vendor's.
        Unavailable: a library that reads the vendor's file is missing.
    """
    target = folder / TOKENIZER
    if target.is_file():
        return _mend(target)
    for name, convert in ((TEKKEN, _from_tekken), (SENTENCEPIECE, _from_sentencepiece)):
        if (folder / name).is_file():
            return convert(folder / name, target)
    raise missing_tokenizer(folder)


def _mend(path: Path) -> Written:
    spec = decode(path.read_text(encoding="utf-8"), where=str(path))
    fault = wrong_pattern(spec)
    if fault is None:
        return Written(path=str(path), how="nothing to do")
    kept = path.with_name(f"{path.name}.before")
    shutil.copyfile(path, kept)
    _write_json(path, mended(spec, fault))
    return Written(
        path=str(path),
        how="mended",
        source=path.name,
        note=f"it cuts words as {fault.family} does; the file as it was is {kept.name}",
    )


def _from_tekken(source: Path, target: Path) -> Written:
    try:
        from transformers.integrations.mistral.tokenizer import MistralConverter
    except ImportError as error:
        raise _no_library("transformers", source) from error
    try:
        spec = json.loads(MistralConverter(str(source)).converted().to_str())
    except (ValueError, LookupError, TypeError) as error:
        raise _unreadable(source, error) from error
    proven, note = 0, "pip install mistral-common, and convert again, to prove its ids"
    try:
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    except ImportError:
        pass
    else:
        vendor = Tekkenizer.from_file(str(source))
        proven = _prove(spec, lambda text: vendor.encode(text, bos=False, eos=False), source)
        note = ""
    _write(target, spec, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    return _converted(target, source, proven, note)


def _from_sentencepiece(source: Path, target: Path) -> Written:
    try:
        if importlib.util.find_spec("google.protobuf") is None:
            raise ImportError("protobuf")
        from sentencepiece import SentencePieceProcessor
        from transformers import AutoTokenizer, LlamaTokenizer
    except ImportError as error:
        raise _no_library("transformers sentencepiece protobuf", source) from error
    pieces = SentencePieceProcessor()
    try:
        pieces.Load(str(source))
    except (OSError, RuntimeError) as error:
        raise _unreadable(source, error) from error
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name in (SENTENCEPIECE, *_BESIDE):
            if (source.parent / name).is_file():
                shutil.copyfile(source.parent / name, place / name)
        kind = AutoTokenizer if (place / "config.json").is_file() else LlamaTokenizer
        try:
            read: Any = kind.from_pretrained(
                str(place), local_files_only=True, trust_remote_code=False
            )
            read.save_pretrained(str(place / "saved"))
        except Exception as error:  # whatever a converter of the library raises
            raise _unreadable(source, error) from error
        saved = place / "saved" / TOKENIZER
        if not saved.is_file():
            raise _unreadable(source, ValueError("the library has no fast form of this tokenizer"))
        spec = json.loads(saved.read_text(encoding="utf-8"))
        config = json.loads((place / "saved" / CONFIG).read_text(encoding="utf-8"))
    _order_merges(spec, pieces)
    # As in a session: behind a control token, and a space where the vendor puts one itself.
    lead = pieces.IdToPiece(pieces.bos_id()) if pieces.bos_id() >= 0 else ""
    if pieces.EncodeAsPieces("x")[0].startswith("\u2581"):
        lead += " "
    proven = _prove(spec, pieces.EncodeAsIds, source, lead)
    names = {
        name: config[name] for name in ("bos_token", "eos_token", "unk_token") if name in config
    }
    _write(target, spec, names)
    return _converted(target, source, proven, "")


def _order_merges(spec: dict[str, Any], pieces: Any) -> None:
    """Order the merges by the vendor's scores: a conversion by ids cuts runs of spaces in another
    way."""
    merges = spec["model"].get("merges")
    if not merges:
        return
    scores = {pieces.IdToPiece(token): pieces.GetScore(token) for token in range(len(pieces))}

    def rank(merge: str | list[str]) -> float:
        whole = merge.replace(" ", "") if isinstance(merge, str) else "".join(merge)
        return -float(scores.get(whole, 0.0))

    merges.sort(key=rank)


def _prove(
    spec: dict[str, Any],
    vendor: Callable[[str], Sequence[int]],
    source: Path,
    lead: str = "",
) -> int:
    """Compare the ids of :data:`PROBES` behind ``lead``; returns how many they are."""
    from tokenizers import Tokenizer

    ours = Tokenizer.from_str(json.dumps(spec))
    skipped = 1 if lead.strip() else 0
    for text in PROBES:
        found = ours.encode(lead + text, add_special_tokens=False).ids[skipped:]
        expected = [int(token) for token in vendor(text)]
        if found != expected:
            pairs = enumerate(zip(found, expected, strict=False))
            shorter = min(len(found), len(expected))
            first = next((at for at, (a, b) in pairs if a != b), shorter)
            raise BadInput(
                f"converted, it gives other ids than {source.name}: for {text!r}, from token "
                f"{first} on, {found[first : first + 8]}; the vendor's are "
                f"{expected[first : first + 8]}",
                where=str(source),
                mend=f"fetch {TOKENIZER} from the vendor's own repository",
            )
    return len(PROBES)


def _write(target: Path, spec: dict[str, Any], names: dict[str, Any]) -> None:
    config = target.with_name(CONFIG)
    if not config.exists():
        added = {token["content"] for token in spec["added_tokens"]}
        known = {name: text for name, text in names.items() if text in added}
        _write_json(config, known | {"tokenizer_class": "PreTrainedTokenizerFast"})
    _write_json(target, spec)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    write_whole(path, text.encode("utf-8", "surrogatepass") + b"\n")


def _converted(target: Path, source: Path, proven: int, note: str) -> Written:
    return Written(path=str(target), how="converted", source=source.name, proven=proven, note=note)


def _no_library(names: str, source: Path) -> Unavailable:
    return Unavailable(
        f"{source.name} is read with libraries that are not here",
        where=str(source),
        mend=f"pip install {names}",
    )


def _unreadable(source: Path, error: Exception) -> BadInput:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return BadInput(
        f"cannot convert {source.name}: {line}",
        where=str(source),
        mend=f"fetch {TOKENIZER} from the base's own repository",
    )

"""Folders with only a vendor's tokenizer file, with a wrong pattern, or with ids without rows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from sekft_engine.bases import check_base
from sekft_engine.bases.patterns import DEFAULT_PATTERN, TEKKEN_PATTERN
from sekft_engine.bases.tokenizers import PROBES, missing_tokenizer, write_tokenizer
from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.engine.doctor import tokenizer_checks
from sekft_engine.model.resident import ResidentBase
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.templates import CHATML, MISTRAL
from tests.training.sessions import write_sessions

WORDS = "ls -la /etc total notes txt user box echo done eBay mL NaOH pH grüße 日本語 1234567890 "
CARD = [Turn(role="user", content="a card says [PAD] here\n$")]
BESIDE = ["Café naïve", "a\n\n  b\t\tc", "x = [1, 2, 3]; print(x)"]


def small_sentencepiece(folder: Path, **options: Any) -> Path:
    """A ``tokenizer.model`` such as Llama's, of a few hundred pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text"
    text.write_text("\n".join([WORDS * 3, *PROBES]), encoding="utf-8")
    trainer: Any = sentencepiece.SentencePieceTrainer
    trainer.Train(
        **{
            "input": str(text),
            "model_prefix": str(folder / "tokenizer"),
            "vocab_size": 420,
            "model_type": "bpe",
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "split_digits": True,
            "minloglevel": 2,
        }
        | options
    )
    text.unlink()
    (folder / "tokenizer.vocab").unlink()
    return folder


def small_tekken(folder: Path) -> Path:
    """A ``tekken.json`` of the vendor's, cut down to two thousand tokens."""
    import mistral_common

    folder.mkdir(parents=True, exist_ok=True)
    whole = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    document = json.loads(whole.read_bytes())
    document["vocab"] = document["vocab"][:2000]
    document["config"] |= {"num_vocab_tokens": 2000, "default_vocab_size": 3000}
    (folder / "tekken.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def plain_ids(folder: Path, text: str) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def test_a_sentencepiece_model_is_converted_and_gives_the_vendors_ids(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = small_sentencepiece(tmp_path / "base")
    with pytest.raises(BadInput, match=f"sekft base tokenizer {folder}"):
        ChatTokenizer.load(folder)
    assert run_command(["base", "tokenizer", str(folder)]) == 0
    assert f"equal to the vendor's in {len(PROBES)} texts" in capfd.readouterr().out
    vendor = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    for text in (*PROBES, *BESIDE):
        assert plain_ids(folder, f"<s> {text}")[1:] == vendor.EncodeAsIds(text)
    (folder / "chat_template.jinja").write_text(MISTRAL["v0.3"], encoding="utf-8")
    assert ChatTokenizer.load(folder).tokens["eos_token"] == "</s>"
    assert write_tokenizer(folder).how == "nothing to do"


def test_a_tekken_file_is_converted_and_gives_the_vendors_ids(tmp_path: Path) -> None:
    folder = small_tekken(tmp_path / "base")
    done = write_tokenizer(folder)
    assert (done.how, done.source, done.proven) == ("converted", "tekken.json", len(PROBES))
    vendor = Tekkenizer.from_file(str(folder / "tekken.json"))
    for text in (*PROBES, *BESIDE):
        assert plain_ids(folder, text) == vendor.encode(text, bos=False, eos=False)
    (folder / "chat_template.jinja").write_text(MISTRAL["nemo"], encoding="utf-8")
    loaded = ChatTokenizer.load(folder)
    assert (loaded.tokens["bos_token"], loaded.notes) == ("<s>", ())


def test_a_conversion_that_gives_other_ids_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    folder = small_sentencepiece(tmp_path / "base", normalization_rule_name="nmt_nfkc")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(BadInput, match=r"gives other ids than tokenizer\.model") as refused:
        write_tokenizer(folder)
    ours, vendors = re.findall(r"\[(\d+)", str(refused.value))
    assert ours != vendors, "what is shown begins where they differ"
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("name", ["tekken.json", "tokenizer.model"])
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b'{"config": 7}')
    with pytest.raises(BadInput, match=f"cannot convert {name}"):
        write_tokenizer(tmp_path)


def test_a_folder_with_nothing_to_convert_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no tokenizer\.json in this folder"):
        write_tokenizer(tmp_path)
    assert "sekft base tokenizer" not in str(missing_tokenizer(tmp_path))


# --- patterns that are known to be wrong ---------------------------------------------------------


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Tekken tokenizer as converters wrote it for a while, with the weights left out."""
    folder = small_tekken(tmp_path_factory.mktemp("bases") / "wrong")
    write_tokenizer(folder)
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    split = next(step for step in spec["pre_tokenizer"]["pretokenizers"] if step["type"] == "Split")
    assert split["pattern"]["Regex"] == TEKKEN_PATTERN
    split["pattern"]["Regex"] = DEFAULT_PATTERN
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(MISTRAL["nemo"], encoding="utf-8")
    (folder / "config.json").write_text('{"vocab_size": 131072}', encoding="utf-8")
    return folder


def test_a_wrong_pattern_is_named_wherever_the_tokenizer_is_loaded(
    wrong: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    way = f"sekft base tokenizer {wrong}"
    (note,) = ChatTokenizer.load(wrong).notes
    assert note.endswith(way)
    assert check_base(wrong).notes == (note,)
    data = write_sessions(tmp_path / "data", 2)
    words = ["train", "--base", str(wrong), "--data", str(data), "--inspect"]
    assert run_command(words) == 0
    assert way in capfd.readouterr().out
    assert run_command([*words, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["remarks"] == [note]
    workspace = tmp_path / "workspace"
    shutil.copytree(wrong, workspace / "bases" / "wrong")
    mends = [check.mend for check in tokenizer_checks(workspace)]
    assert mends == [f"sekft base tokenizer {workspace / 'bases' / 'wrong'}"]


def test_a_wrong_pattern_is_mended_and_the_file_is_kept(wrong: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(wrong, tmp_path / "wrong"))
    before = ChatTokenizer.load(folder)
    done = write_tokenizer(folder)
    assert done.how == "mended"
    mended = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").rename(folder / "mended.json")
    write_tokenizer(folder)  # from tekken.json again
    assert mended == json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    kept = folder / "tokenizer.json.before"
    assert kept.read_bytes() == (wrong / "tokenizer.json").read_bytes()
    after = ChatTokenizer.load(folder)
    assert after.notes == ()
    assert after.digest.tokenizer != before.digest.tokenizer
    assert write_tokenizer(folder).how == "nothing to do"


def test_nothing_is_said_of_other_families(smollm2: Path) -> None:
    assert ChatTokenizer.load(smollm2).notes == ()
    assert check_base(smollm2).notes == ()


# --- ids beyond the rows -------------------------------------------------------------------------


def with_token(base: Path, text: str, *, special: bool, template: str) -> Path:
    """``base`` with one more token in its tokenizer than its embedding has rows."""
    spec = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    spec["added_tokens"].append(
        {
            "id": 49152, "content": text, "special": special, "normalized": False,
            "single_word": False, "lstrip": False, "rstrip": False,
        }
    )  # fmt: skip
    (base / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    (base / "chat_template.jinja").write_text(template, encoding="utf-8")
    return base


WRITES_IT = CHATML.replace("'<|im_start|>' + message['role']", "'<|x|>' + message['role']")


def test_a_template_that_writes_a_token_without_a_row_is_refused_before_anything_is_loaded(
    tiny_base_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = with_token(tiny_base_copy, "<|x|>", special=True, template=WRITES_IT)
    data = write_sessions(tmp_path / "data", 4)
    for words in (
        ["train", "--data", str(data), "--inspect"],
        ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--max-steps", "1"],
        ["mask", "--data", str(data)],
    ):
        assert run_command([*words, "--base", str(base)]) == 2
        said = capfd.readouterr().err
        assert "the tokenizer has ids up to 49152, but the base has 49152 rows" in said
        assert "'<|x|>'" in said
        assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
    with pytest.raises(BadInput, match="ids up to 49152"):
        ResidentBase.load(base)


def test_a_word_without_a_row_that_any_session_may_hold_is_refused(tiny_base_copy: Path) -> None:
    base = with_token(tiny_base_copy, "quilling", special=False, template=CHATML)
    with pytest.raises(BadInput, match="none for 'quilling'"):
        ChatTokenizer.load(base)


def test_a_control_token_without_a_row_that_nothing_writes_does_no_harm(
    tiny_base_copy: Path,
) -> None:
    base = with_token(tiny_base_copy, "[PAD]", special=True, template=CHATML)
    loaded = ResidentBase.load(base)
    assert max(encode_prompt(loaded.tokenizer, CARD)) < 49152


def test_the_embedding_itself_is_looked_at_where_the_configuration_says_nothing(
    tiny_base_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sekft_engine.render.template import tokenizer

    base = with_token(tiny_base_copy, "<|x|>", special=True, template=WRITES_IT)
    monkeypatch.setattr(tokenizer, "embedding_rows", lambda _: None)
    with pytest.raises(BadInput, match="ids up to 49152"):
        ResidentBase.load(base)


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        ({"vocab_size": 7}, 7),
        ({"text_config": {"vocab_size": 7}}, 7),
        ({"vocab_size": None, "llm_config": {"vocab_size": 7}}, 7),
        ({"vocab_size": "many"}, None),
        ([], None),
    ],
)
def test_the_rows_are_those_of_the_part_that_reads_text(
    config: object, rows: int | None, tmp_path: Path
) -> None:
    from sekft_engine.bases.embedding import embedding_rows

    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert embedding_rows(tmp_path) == rows

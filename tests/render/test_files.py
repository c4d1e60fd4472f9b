"""A base's tokenizer files, in every form that repositories have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.render import ChatTokenizer
from tests.render import templates
from tests.render.conftest import _transformers
from tests.render.sessions import PLAIN
from tests.render.test_equals_transformers import messages, row

Change = Callable[[dict[str, Any], Path], None]


def _in_config(config: dict[str, Any], folder: Path) -> None:
    config["chat_template"] = templates.CHATML


def _as_a_list(config: dict[str, Any], folder: Path) -> None:
    config["chat_template"] = [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": templates.CHATML},
    ]


def _as_a_file(config: dict[str, Any], folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(templates.CHATML)


def _among_others(config: dict[str, Any], folder: Path) -> None:
    _as_a_file(config, folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("no")


def _with_objects_for_tokens(config: dict[str, Any], folder: Path) -> None:
    _as_a_file(config, folder)
    config["bos_token"] = {"content": "<|im_start|>", "lstrip": False, "__type": "AddedToken"}


@pytest.mark.parametrize(
    "change", [_in_config, _as_a_list, _as_a_file, _among_others, _with_objects_for_tokens]
)
def test_templates_and_tokens_in_each_form_are_read_as_transformers_reads_them(
    change: Change, tiny_base_copy: Path
) -> None:
    folder = tiny_base_copy
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    change(config, folder)
    path.write_text(json.dumps(config))
    ours = ChatTokenizer.load(folder)
    theirs = _transformers(folder)
    expected = theirs.apply_chat_template(messages(PLAIN), return_dict=False)
    assert row(PLAIN, ours).ids.tolist() == expected
    assert (ours.bos_id, ours.eos_id) == (theirs.bos_token_id, theirs.eos_token_id)


def test_special_tokens_that_only_the_configuration_names(tiny_base_copy: Path) -> None:
    """Llama-3-like bases name tokens in the configuration; they get ids behind the others."""
    folder = tiny_base_copy
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {
        "bos_token": "<|begin|>",
        "additional_special_tokens": ["<|more|>"],
    }
    path.write_text(json.dumps(config))
    (folder / "config.json").unlink()  # only the tokenizer: no weights lack rows for the new tokens
    (folder / "chat_template.jinja").write_text("{{ bos_token }}" + templates.CHATML)
    ours = ChatTokenizer.load(folder)
    theirs = _transformers(folder)
    expected = theirs.apply_chat_template(messages(PLAIN), return_dict=False)
    assert expected[0] == theirs.convert_tokens_to_ids("<|begin|>") >= 49152
    built = row(PLAIN, ours)
    assert built.ids.tolist() == expected
    assert built.certificate.single_bos
    assert ours.vocab_size == len(theirs)


def test_the_older_special_tokens_map_is_read_where_the_configuration_is_silent(
    tiny_base_copy: Path,
) -> None:
    folder = tiny_base_copy
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["eos_token"]
    path.write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text('{"eos_token": "<|im_end|>"}')
    assert ChatTokenizer.load(folder).eos_id == 2


def test_a_named_token_is_control_even_when_the_file_says_it_is_not(tiny_base_copy: Path) -> None:
    path = tiny_base_copy / "tokenizer.json"
    spec = json.loads(path.read_text())
    for token in spec["added_tokens"]:
        token["special"] = False
    path.write_text(json.dumps(spec))
    ours = ChatTokenizer.load(tiny_base_copy)
    assert {ours.bos_id, ours.eos_id} <= ours.control_ids


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such base folder"):
        ChatTokenizer.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{% for x in messages %}{{ x.clear() }}{% endfor %}",
    ],
)
def test_a_template_from_outside_cannot_reach_python(template: str, tiny_base_copy: Path) -> None:
    (tiny_base_copy / "chat_template.jinja").write_text(template)
    ours = ChatTokenizer.load(tiny_base_copy)
    with pytest.raises(BadInput, match="template refuses the session"):
        ours.render_text(PLAIN.turns)


def test_the_extras_that_templates_use(tiny_base_copy: Path) -> None:
    (tiny_base_copy / "chat_template.jinja").write_text(
        "{% set ns = namespace(n=0) %}{% for m in messages %}"
        "{% generation %}{{ m['content'] | tojson }}{% endgeneration %}"
        "{% set ns.n = ns.n + 1 %}{% if ns.n == 2 %}{% break %}{% endif %}{% endfor %}"
        "{{ dict(a=1)['a'] }}{{ strftime_now('%Y') | length }}{{ nothing }}"
    )
    theirs = _transformers(tiny_base_copy)
    shown = ChatTokenizer.load(tiny_base_copy).render_text(PLAIN.turns)
    assert shown == theirs.apply_chat_template(messages(PLAIN), tokenize=False)
    assert shown.endswith('"ls -la"14')

"""Chat templates as published on the Hub, and broken ones that a workbench must refuse by name."""

from __future__ import annotations

_ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
)


def _mistral(user: str, assistant: str) -> str:
    return (
        "{{ bos_token }}{% for message in messages %}"
        + _ALTERNATE
        + "{% if message['role'] == 'user' %}{{ "
        + user
        + " }}{% elif message['role'] == 'assistant' %}{{ "
        + assistant
        + " }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
        "{% endif %}{% endfor %}"
    )


_USER = "'[INST] ' + message['content'] + ' [/INST]'"
#: Mistral-7B-Instruct-v0.1, -v0.2, -v0.3 and Mistral-Nemo: the space wanders.
MISTRAL = {
    "v0.1": _mistral(_USER, "message['content'] + eos_token + ' '"),
    "v0.2": _mistral(_USER, "message['content'] + eos_token"),
    "v0.2-spaced": _mistral(_USER, "' ' + message['content'] + eos_token"),
    "v0.3": _mistral(
        "'[INST] ' + message['content'] + '[/INST]'", "' ' + message['content'] + eos_token"
    ),
    "nemo": _mistral("'[INST]' + message['content'] + '[/INST]'", "message['content'] + eos_token"),
}


def chatml(
    body: str = "message['content']", *, before: str = "", closing: str = "<|im_end|>"
) -> str:
    """ChatML whose content goes through ``body`` and whose turns close with ``closing``."""
    return (
        before
        + "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
        + body
        + " + '"
        + closing
        + "\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% endif %}"
    )


CHATML = chatml()
#: Llama 3 and Gemma trim every message.
TRIMS = chatml("(message['content'] | trim)")
#: Reasoning models cut the thoughts out of all but the last turn.
CUTS_THOUGHTS = chatml(
    "(message['content'] if loop.last else message['content'].split('</think>')[-1])"
)
#: A system prompt that appears only once a conversation is longer than one message.
GROWS_A_PREAMBLE = chatml(
    before="{% if messages | length > 1 %}{{ '<|im_start|>system\nGo on.<|im_end|>\n' }}{% endif %}"
)
#: The last turn is shown in another way than the ones before it.
MARKS_THE_LAST = chatml("(message['content'] if not loop.last else '> ' + message['content'])")
#: A generation prompt that the history does not show (an empty thought).
PROMPTS_MORE = CHATML.replace(
    "'<|im_start|>assistant\n' }}{% endif %}", "'<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
LEAVES_OPEN = chatml(closing="")
#: The end-of-turn token is written only at the very end.
CLOSES_LAST = chatml(closing="").replace(
    "{% endfor %}",
    "{% if loop.last and message['role'] == 'assistant' %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}",
)
DOUBLE_BOS = "{{ '<|endoftext|><|endoftext|>' }}" + CHATML
DROPS_A_TURN = (
    "{% for message in messages %}{% if message['role'] == 'assistant' or loop.last %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}"
)
#: A channel that the model has to open by itself before it can say anything.
OPENS_A_CHANNEL = chatml(
    "('<file_sep>' if message['role'] == 'assistant' else '') + message['content']"
)
#: The same in plain words.
SIGNS_COMMANDS = chatml("('sh: ' if message['role'] == 'assistant' else '') + message['content']")
#: Zephyr 7B: Mistral's first tokenizer, role names in plain text, turns closed with EOS.
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
    "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n"
    "{% endif %}\n{% endfor %}"
)

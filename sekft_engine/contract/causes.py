"""The causes of differences between prompts, and functions that recognise them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from sekft_engine.contract.http.words import too_long


class Cause(msgspec.Struct, frozen=True):
    """A cause as it is shown: a short ``title``, its ``meaning``, and how to ``mend`` it."""

    title: str
    meaning: str
    mend: str


_TOKENS_IN = (
    "send token ids to /v1/completions instead of messages, or let content be encoded apart "
    "(vLLM, Mistral: --tokenizer-mode mistral)"
)
_SAME_FILES = "serve the base's own folder: its chat template and its tokenizer files"

#: Name, as in ``--json`` -> description.
CAUSES: Mapping[str, Cause] = {
    "double_bos": Cause(
        "double BOS",
        "The server puts a BOS before the one that the template writes.",
        "switch off add_special_tokens (or add_bos_token): the template does it",
    ),
    "missing_bos": Cause(
        "missing BOS",
        "The server leaves out the BOS with which every training row begins.",
        "switch on add_special_tokens (or add_bos_token), or take the base's own template",
    ),
    "added_bos": Cause(
        "added BOS",
        "The server begins with a BOS that the base's template does not write.",
        "switch off add_special_tokens (or add_bos_token)",
    ),
    "added_eos": Cause(
        "added EOS",
        "The server closes the prompt with an EOS: to the model everything is said.",
        "switch off add_eos_token in the server's tokenizer files",
    ),
    "no_generation_prompt": Cause(
        "no generation prompt",
        "The server leaves out what asks for the next command.",
        "send add_generation_prompt true, or mend the server's template",
    ),
    "longer_generation_prompt": Cause(
        "longer generation prompt",
        "The server's prompt goes on after ours, as the templates of reasoning models do.",
        "switch thinking off in chat_template_kwargs, or take the base's own template",
    ),
    "trimmed_content": Cause(
        "trimmed content",
        "White space at the edges of turns is lost on the way to the model.",
        "take the base's own template; look for trim or strip in the server's",
    ),
    "newlines_rewritten": Cause(
        "newlines rewritten",
        "CR LF reaches the model as LF.",
        "look for a gateway before the server that rewrites what it passes on",
    ),
    "characters_rewritten": Cause(
        "characters rewritten",
        "Characters reach the model in another Unicode form.",
        "look for a gateway or a tokenizer that normalises to NFC or NFKC",
    ),
    "thoughts_cut": Cause(
        "thoughts cut",
        "The server's template cuts <think>...</think> out of earlier turns.",
        "take the base's own template",
    ),
    "content_rewritten": Cause(
        "content rewritten",
        "The scaffold is the same, but what the turns say is not.",
        "compare the server's template with the base's own",
    ),
    "default_system_prompt": Cause(
        "default system prompt",
        "The server's template opens with a system prompt that training never saw.",
        "take the base's own template, or empty the server's default system prompt",
    ),
    "missing_system_prompt": Cause(
        "missing system prompt",
        "The base's template opens with a system prompt, the server's does not.",
        "take the base's own template",
    ),
    "other_system_prompt": Cause(
        "other system prompt",
        "The server opens with another system prompt than the base's template.",
        "take the base's own template",
    ),
    "date_in_template": Cause(
        "date in the template",
        "The template prints the date, and the two sides have another day.",
        "pin the date in the base's chat_template.jinja, and serve that; the remarks show how",
    ),
    "forged_control_token": Cause(
        "forged control token",
        "A control token that a turn merely quotes reaches the model as a real one.",
        _TOKENS_IN,
    ),
    "other_tokenizer": Cause(
        "other tokenizer",
        "The text is the same but is cut into other tokens.",
        "serve the tokenizer files of the base (mind the legacy flag)",
    ),
    "other_vocabulary": Cause(
        "other vocabulary",
        "The same ids mean other tokens there: this is another base.",
        "is it the right server and the right --model?",
    ),
    "other_template": Cause(
        "other template",
        "The turns are wrapped in another scaffold: this is another chat template.",
        _SAME_FILES,
    ),
    "system_refused": Cause(
        "system turn refused",
        "The server's template takes no system turn.",
        "fold it into the first user turn first, as sekft does (or serve with its normaliser)",
    ),
    "roles_refused": Cause(
        "roles refused",
        "The server's template refuses turns that alternate as training has them.",
        "look for a system turn or a tool turn that the server adds",
    ),
    "too_long": Cause(
        "too long",
        "The prompt does not fit into the server's context.",
        "serve with a longer context, or train with a smaller --max-length",
    ),
    "refused": Cause(
        "refused",
        "The server refuses the prompt.",
        "see its own words above, and its log",
    ),
    "unknown": Cause(
        "cause unknown",
        "None of the known faults fits.",
        "compare template and tokenizer files of both sides",
    ),
}

_DATES = re.compile(
    r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
    r"|\d{1,2}\s+[A-Z][a-z]{2,8}\.?,?\s+\d{4}|[A-Z][a-z]{2,8}\.?\s+\d{1,2},?\s+\d{4}"
)


# --- from what a server refuses -------------------------------------------------------------------


def refusal_cause(message: str, roles: Sequence[str]) -> str:
    """The cause of a refusal of turns with ``roles``, from the server's message."""
    if too_long(message):
        return "too_long"
    low = message.lower()
    if "system" in roles and ("system" in low or "role" in low or "alternate" in low):
        return "system_refused"
    if "alternate" in low or "role" in low:
        return "roles_refused"
    return "refused"


# --- from ids -------------------------------------------------------------------------------------


def two_bos(ours: Sequence[int], theirs: Sequence[int], bos: int | None) -> bool:
    """Whether ``theirs``, but not ``ours``, begins with two BOS."""
    return bos is not None and [*theirs[:2]] == [bos, bos] and [*ours[:2]] != [bos, bos]


def lost_bos(ours: Sequence[int], theirs: Sequence[int], bos: int | None) -> bool:
    """Whether ``theirs`` is ``ours`` without its BOS at the beginning."""
    following = [*ours[1:4]]
    return bool(following) and ours[0] == bos and [*theirs[: len(following)]] == following


def goes_on(ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Whether ``theirs`` begins with all of ``ours`` and is longer."""
    return len(theirs) > len(ours) and [*theirs[: len(ours)]] == [*ours]


def stops_early(ours: Sequence[int], theirs: Sequence[int], asked: Sequence[int]) -> bool:
    """Whether ``theirs`` is ``ours`` without the generation prompt ``asked`` at its end."""
    return bool(asked) and [*theirs, *asked] == [*ours]


def forged(
    ours: Sequence[int],
    theirs: Sequence[int],
    index: int,
    literals: Mapping[int, str],
    contents: Iterable[str],
) -> bool:
    """Whether ``theirs`` first differs by a control token that some content quotes.

    Args:
        index: the first difference. White space before the token may be tokenised differently too.
        literals: control token id -> its text.
    """
    place = slice(index, index + 3)
    quoted = "\0".join(contents)
    return any(
        token in literals and token not in ours[place] and literals[token] in quoted
        for token in theirs[place]
    )


def other_vocabulary(
    theirs: Sequence[int], pieces: Sequence[str] | None, ours: Mapping[int, str]
) -> bool:
    """Whether the server's vocabulary is another: its ids have other names, or none here.

    Args:
        theirs: the server's ids.
        pieces: the server's names for them; None = unknown.
        ours: id -> its name in the base's vocabulary.
    """
    if any(token not in ours for token in theirs):
        return True
    if pieces is None:
        return False
    wrong = sum(ours[token] != piece for token, piece in zip(theirs, pieces, strict=True))
    # Servers write a few names (bytes, spaces) differently; with another vocabulary most differ.
    return wrong * 2 > len(theirs)


# --- from texts -----------------------------------------------------------------------------------


def other_day(ours: str, theirs: str) -> bool:
    """Whether two texts differ only in dates."""
    return ours != theirs and _DATES.sub("\0", ours) == _DATES.sub("\0", theirs)


def preamble_cause(ours: str, theirs: str, head: int, literals: Iterable[str] = ()) -> str:
    """The cause where the texts differ only before the first turn's content; else empty.

    Args:
        head: the position in ``ours`` where that content begins.
        literals: the texts of control tokens, which are ignored.
    """
    rest = ours[head:]
    if not rest or not theirs.endswith(rest):
        return ""
    mine, other = ours[:head], theirs[: len(theirs) - len(rest)]
    control = [literal for literal in literals if literal in mine or literal in other]
    if _letters(mine, control) == _letters(other, control):
        return ""
    if _within(mine, other):
        return "default_system_prompt"
    return "missing_system_prompt" if _within(other, mine) else "other_system_prompt"


def _within(short: str, long: str) -> bool:
    """Whether ``long`` is ``short`` with one piece inserted."""
    return len(short) < len(long) and any(
        long.startswith(short[:cut]) and long.endswith(short[cut:]) for cut in range(len(short) + 1)
    )


def same_words(ours: str, theirs: str) -> bool:
    """Whether the texts are equal apart from white space, which decoders change."""
    return _squeezed(ours) == _squeezed(theirs)


def holds_all(theirs: str, contents: Iterable[str]) -> bool:
    """Whether ``theirs`` contains all ``contents`` in order, apart from white space."""
    text, at = _squeezed(theirs), 0
    for content in contents:
        words = _squeezed(content)
        found = text.find(words, at)
        if found < 0:
            return False
        at = found + len(words)
    return True


def _squeezed(text: str) -> str:
    # SentencePiece writes spaces as ▁, so that the two are the same.
    return "".join(text.replace("▁", " ").split())


def _letters(text: str, control: Iterable[str]) -> str:
    for literal in control:
        text = text.replace(literal, " ")
    return "".join(character for character in text if character.isalnum())


# --- from counts ----------------------------------------------------------------------------------


#: Faults that show in every prompt.
EVERYWHERE = frozenset(
    {"double_bos", "missing_bos", "added_bos", "added_eos", "no_generation_prompt"}
)


def common_cause(
    candidates: Sequence[Set[str]], surplus: Sequence[int], some_equal: bool
) -> list[str]:
    """The most likely cause for each prompt whose number of tokens differs.

    Args:
        candidates: per prompt, the faults that would give the server's count.
        surplus: per prompt, the server's count minus training's.
        some_equal: whether other prompts have equal counts.
    """
    if some_equal:
        candidates = [each - EVERYWHERE for each in candidates]
    votes = Counter(cause for each in candidates for cause in each)
    ((most, times),) = Counter(surplus).most_common(1) or ((0, 0),)
    steady = times > 1 and times * 3 >= len(surplus) * 2
    found = []
    for each, more in zip(candidates, surplus, strict=True):
        if each:
            found.append(max(each, key=lambda cause: (votes[cause], _RANK[cause])))
        else:
            found.append(_steady(most) if steady and more == most else "unknown")
    return found


def _steady(surplus: int) -> str:
    """The cause where every prompt has the same surplus."""
    if abs(surplus) < 4:  # a system prompt is longer
        return "unknown"
    return "default_system_prompt" if surplus > 0 else "missing_system_prompt"


#: The order of causes that fit equally often: the simpler one first.
_RANK = {cause: -number for number, cause in enumerate(CAUSES)}

"""Why a trajectory is dropped: what each reason means, and which line of the certificate fails."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sekft_engine.data.read_report import REJECTIONS

#: The certificate's line that a reason says does not hold; other reasons come before any line.
LINES: Mapping[str, str] = {
    "boundary_merge": "additive",
    "not_additive": "additive",
    "decode_mismatch": "decodes",
    "unknown_token": "decodes",
    "writes_before_command": "decodes",
    "terminal_cut": "terminal_whole",
    "no_end_of_turn": "terminal_whole",
    "forged_control": "no_forged_control",
    "double_bos": "single_bos",
    "template_rewrites_content": "template_faithful",
    "too_long": "within_limit",
    "nothing_trained": "trained_tokens",
}

MEANINGS: Mapping[str, str] = {
    **REJECTIONS,
    "bad_input": "It cannot be read as a session.",
    "boundary_merge": "A token would hold the end of what the environment said together with the "
    "beginning of a command, so the two cannot be parted.",
    "decode_mismatch": "The trained tokens would say something else than the commands.",
    "double_bos": "The text would open with two tokens for its beginning, which no model has seen.",
    "empty_command": "A command is empty, so there is nothing to learn in its place.",
    "empty_session": "There is no turn in it.",
    "forged_control": "What a program printed or a person typed would be taken for a control token "
    "of the chat template.",
    "mixed_weights": "Two commands in a row are one turn to the model, and only one of them is to "
    "be trained.",
    "lone_surrogate": "It holds half a character, which no tokenizer can take.",
    "no_command": "There is no command in it, so nothing would be trained.",
    "no_end_of_turn": "The chat template leaves a command open, so the model would not learn to "
    "stop.",
    "not_additive": "The chat template shows earlier turns in another way once more follow, so "
    "training would show what use never shows.",
    "not_kept": "It is marked as not to be kept.",
    "nothing_trained": "No token of it would be trained.",
    "opens_with_command": "It opens with a command, before the environment has said anything.",
    "template_error": "The chat template refuses it.",
    "template_rewrites_content": "The chat template would trim or rewrite what was said.",
    "terminal_cut": "The end of its last command is missing, which would teach stopping midway.",
    "too_long": "It is longer than the limit; a cut session would teach stopping midway.",
    "unknown_token": "A command holds a character that the vocabulary has no token for.",
    "writes_before_command": "The chat template writes something before a command that it does "
    "not write when it asks for one.",
}

#: The way out for each reason. docs/refusals.md lists them.
WAYS: Mapping[str, str] = {
    "bad_content": "write what the turn says as text",
    "bad_input": "correct the line of the file that is named",
    "bad_weight": "give the command the weight 0 or 1, once",
    "boundary_merge": "record the command without white space at its beginning; if this holds for "
    "every session, use a chat template whose generation prompt ends in a line break or a control "
    "token",
    "broken_json": "correct the line of the file that is named",
    "broken_row": "write the table again",
    "damaged_file": "fetch the file again, or write it again",
    "decode_mismatch": "record the command without white space at its edges, or use a tokenizer "
    "that gives text back as it was",
    "duplicate_id": "give each session an id of its own",
    "double_bos": "take bos_token out of the chat template once",
    "empty_command": "remove the turn, or record the session again",
    "empty_session": "remove it, or record it again",
    "forged_control": "remove the control token from what was recorded, or use a chat template "
    "that parts turns with control tokens",
    "half_line": "let the file be written to its end, or remove the last line",
    "lone_surrogate": "decode output with errors='replace' when you record it",
    "mixed_weights": "give commands in a row the same weight",
    "no_command": "record a session with at least one command",
    "no_end_of_turn": "use a chat template that closes a command with a control token",
    "not_a_session": "give each object a list of turns: turns, messages or conversations",
    "not_additive": "use a chat template that only appends",
    "not_kept": "train on the curated file instead of the folder, or set keep to true",
    "not_utf8": "convert the file with iconv",
    "nothing_trained": "record a session with at least one command, and train one of them",
    "opens_with_command": "begin it with what the environment shows at login",
    "template_error": "use a chat template that takes user and assistant turns in turn",
    "template_rewrites_content": "record turns without white space at their edges, or use a chat "
    "template that shows them as they are",
    "terminal_cut": "use a chat template that closes the last command too",
    "too_deep": "remove what is nested, or write it as text",
    "too_long": "raise --max-length, or record shorter sessions",
    "tool_calls": "write the command as text, as it is typed at a shell",
    "unknown_role": "call the role of the turn user or assistant",
    "unknown_token": "remove the character from the command, or use a base with bytes in its "
    "vocabulary",
    "unreadable": "change its permissions, or let it be written to its end",
    "writes_before_command": "use a chat template that only appends",
    "zero_bytes": "restore the file, or remove its damaged end",
}

#: What a detail quotes of a session, which is left as it is, or a turn.
_TURN = re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|\bturn (\d+)")


#: How the place of a turn that could not be read ends.
_TURN_PLACE = re.compile(r"(?<=: turn )\d+$")


def line_of(reason: str) -> str:
    """The line of the certificate that fails for ``reason``; '' = it fails before any line."""
    return LINES.get(reason, "")


def as_shown(detail: str) -> str:
    """A detail with its turns counted from 1, as they are shown; files count from 0."""
    return _TURN.sub(
        lambda found: f"turn {int(found[1]) + 1}" if found[1] is not None else found[0], detail
    )


def place_shown(where: str | None) -> str | None:
    """Where an error of reading is, its turn counted from 1 as in :func:`as_shown`."""
    return where and _TURN_PLACE.sub(lambda found: str(int(found[0]) + 1), where)

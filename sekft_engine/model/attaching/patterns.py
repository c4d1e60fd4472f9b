"""Match regular expressions from a file as PEFT does, within a bound on time and memory.

A hostile expression can keep ``re`` busy almost forever, and nothing can interrupt it. So anything
beyond a plain name is matched in a separate process with resource limits.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from sekft_engine.core.errors import BadInput

#: Seconds of processor time, and bytes of memory, for all expressions of one field.
SECONDS, MEMORY = 10, 1 << 29
#: Seconds of wall-clock time after which matching fails, however busy the machine is.
PATIENCE = 300.0
#: The most pairs of a plain name and a layer that are compared in this process.
PAIRS = 200_000

#: A pattern that matches in linear time: a name, maybe anchored at its beginning or end.
_PLAIN = re.compile(r"\^?(?:[\w.-]|\\\.)*\$?")

_CHILD = """
import json, re, resource, sys
seconds, memory, whole, expressions, names = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
try:
    made = [re.compile(each) for each in expressions]
except (re.error, OverflowError, RecursionError, MemoryError) as error:
    print(json.dumps({"error": str(error)[:200] or type(error).__name__}))
else:
    ways = [each.fullmatch if whole else each.match for each in made]
    print(json.dumps({"found": [[name for name in names if way(name)] for way in ways]}))
"""


def full_matches(pattern: str, names: Sequence[str], where: str) -> frozenset[str]:
    """The ``names`` that a string in ``target_modules`` or ``exclude_modules`` matches in PEFT.

    Args:
        where: the file of the pattern, for errors.

    Raises:
        BadInput: the pattern is invalid, or takes too long.
    """
    (found,) = _matches([pattern], [pattern], names, where, whole=True)
    return found


def end_matches(keys: Sequence[str], names: Sequence[str], where: str) -> list[frozenset[str]]:
    """For each key of ``rank_pattern`` or ``alpha_pattern``, the ``names`` that it matches in PEFT.

    A key matches the end of a name, from a dot on. Raises as :func:`full_matches`.
    """
    return _matches([rf"(.*\.)?({key})$" for key in keys], keys, names, where, whole=False)


def _matches(
    expressions: Sequence[str], shown: Sequence[str], names: Sequence[str], where: str, whole: bool
) -> list[frozenset[str]]:
    few = len(expressions) * len(names) <= PAIRS
    if few and all(_PLAIN.fullmatch(each) for each in shown):
        made = [re.compile(each) for each in expressions]
        ways = [each.fullmatch if whole else each.match for each in made]
        return [frozenset(name for name in names if way(name)) for way in ways]
    longest = max(shown, key=len)
    shown = json.dumps(longest if len(longest) <= 60 else longest[:57] + "...")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([SECONDS, MEMORY, whole, list(expressions), list(names)]),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise BadInput(
            f"the pattern {shown} takes too long to match", where=where, mend="name the layers"
        ) from None
    if "error" in answer:
        raise BadInput(
            f"the pattern {shown} is not valid: {answer['error']}",
            where=where,
            mend="name the layers",
        )
    return [frozenset(found) for found in answer["found"]]

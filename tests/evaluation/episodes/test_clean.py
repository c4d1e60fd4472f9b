"""Prose is what a shell user would call typing English; typos and wrong guesses are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.episodes.clean import is_prose, why_prose
from sekft_engine.episodes.shelltext import QUOTED, simple_commands

#: What SmolLM2-135M-Instruct really said at bare prompts of several worlds (greedy and sampled).
BASE_SAYS = json.loads(Path(__file__).with_name("base_says.json").read_text(encoding="utf-8"))

ECHOES = ("user@box:~$", "Debian ")  # prompts and listings said back: no command, but no English


@pytest.mark.parametrize("said", [text for text in BASE_SAYS if not text.startswith(ECHOES)])
def test_what_the_real_base_says_at_a_bare_prompt_is_prose(said: str) -> None:
    assert is_prose(said)


@pytest.mark.parametrize(
    "typed",
    [
        # honest typos and wrong guesses
        "gerp foo x",
        "sl -la",
        "cat notes",
        "quil --help",
        "help",
        "status",
        "login admin",
        "hello",
        "Ls -la",
        "EXIT",
        "README",
        "README.md",
        "gti status",
        "directives",
        "quil show orders",
        "quilt fetch directives now",
        "exti",
        "pwd ls",
        "who am i",
        "help me",
        "man man",
        "cat the file",
        "tasker list all open tasks",
        "./run.sh",
        "/usr/local/bin/quil get",
        "user@box:~$",
        "user@box:~$ ls",
        "$ ls -la",
        "",
        # text that a command takes
        "echo Hello there my friend > f",
        "echo I am going to write this to the file, and you know it.",
        "echo it's done",
        "printf 'Dear all,\\nthe disk is full. I will clean it.\\n' > letter.txt",
        "panic the input file is missing",
        "panic I cannot find the list of names that I am to sort",
        "Panic no input",
        "panic",
        'grep "I am here to help you" log.txt',
        "git commit -m 'Here is the fix for the bug'",
        'logger "This is the end"',
        # shell, long and short
        "exit",
        "ls",
        "ls -la /etc | grep conf | sort -r > out.txt",
        "for f in a b c; do echo the $f is in; done",
        "while read -r line; do echo $line; done < in the",
        "if [ -f notes ]; then cat notes; else echo no such file is here; fi",
        "case $x in a) echo this is it;; esac",
        "sort names.txt | uniq > sorted.txt && exit",
        "mv one two three and_four",
        "cp a.txt b.txt the.txt of.txt",
        "mkdir -p this/is/a/path and then",
        "find . -name that -and -not -name this",
        "test -f it && cat it",
        "# I will now look at the file and then I will move it",
        "ls # this is what you have to do",
        "cat > letter <<EOF\nDear friend,\n\nI am sorry that I have not written.\nEOF",
        "cat <<'END' > note\nHere is the plan: we'll go.\nEND\ncat note",
        "cat > f <<-EOF\n\tThis is it.\n\tEOF\nexit",
        "echo 'two lines\nof the text that I wrote' > f",
        "awk '{print $1, \"is the one\"}' data.csv",
        "sed -e 's/I am/you are/' in.txt",
        "NAME='the one' sh script.sh",
        "A=1 B=2 env",
        "echo $((1 + 2))",
        "tr a-z A-Z < in.txt > out.txt",
        "cat notes.txt; rm notes.txt",
        "wc -l access.log",
        "yes | head -n 3",
        "sh: 1: foo: not found",
    ],
)
def test_commands_typos_wrong_guesses_and_quoted_text_are_not_prose(typed: str) -> None:
    assert why_prose(typed) == ""


@pytest.mark.parametrize(
    "typed",
    [
        "```sh\nls -la\n```",
        "```\nexit\n```",
        "Here is the command you need:\nls -la",
        "Here is",
        "I will look at the file first.",
        "I'll list the files",
        "To do this, run `quil --help`.",
        "To list the files, you can use the ls command",
        "Sure! Let me help you with that.",
        "Sure",
        "Hello!",
        "Done.",
        "Output:",
        "Command: ls -la",
        "The file has been moved.",
        "The command is:\n\nls",
        "Sorry, I can't do that",
        "Run the following command:",
        "First, read the announcement. Then run it.",
        "1. Run `quil --help`\n2. Read what it says",
        "- List the files\n- Exit",
        "**Note** that the file is missing",
        "ls lists the files in the directory",
        "find the file and then run it",
        "make sure that the file is there",
        "exit because I am done with the task",
        "cd into the folder and list it",
        "if you want to see it, type the name of the file",
        "the file is missing",
        "i will look at it",
        "please help",
        "we are done here",
        "ls -la\nThe files are listed above.",
        "Bonjour, je suis un assistant.",
        "我会运行这个命令。",
        "Let's see what is in the folder",
        "don't know",
        "You are in your home directory and there is nothing to do here",
        "quil is a service that gives you directives",
        "Of course, here you go: ls",
    ],
)
def test_sentences_fences_and_remarks_are_prose(typed: str) -> None:
    assert is_prose(typed)


def test_free_text_given_to_the_worlds_own_program_is_not_prose() -> None:
    typed = "steward note the disk is full and the log is gone"
    assert is_prose(typed)
    assert not is_prose(typed, known=["steward"])
    assert is_prose("steward is a program that will tell you what to do", known=["steward"])


def test_a_line_that_the_shell_ran_well_was_a_command() -> None:
    typed = "remind me of the meeting with you"
    assert is_prose(typed, status=127)
    assert not is_prose(typed, status=0)
    assert is_prose("I am done with it now\nexit", status=0)


def test_a_claimed_exit_status_makes_no_command_of_a_sentence() -> None:
    for typed in ("I will look at the file now", "The answer is in the file.", "Sure, let me look"):
        assert is_prose(typed, status=0)
    assert not is_prose("which program is it", status=0)


def test_a_shell_reader_takes_quotes_here_documents_and_comments_as_data() -> None:
    assert simple_commands('grep "a b" f | wc -l # count it') == [
        ["grep", QUOTED, "f"],
        ["wc", "-l"],
    ]
    assert simple_commands("cat <<X > f\nany thing\nX\nls") == [["cat", ">", "f"], ["ls"]]
    assert simple_commands("I'm here, don't you know") == [["I'm", "here,", "don't", "you", "know"]]


@pytest.mark.parametrize(
    ("typed", "commands"),
    [
        # several here-documents on a line are read in order
        ("cat <<A - <<B\nI am here.\nA\nYou are there.\nB\nls", [["cat", "-"], ["ls"]]),
        ("cat <<A <<B\nB\nA\nA\nB\nls", [["cat"], ["ls"]]),
        ("cat <<A\nB\nA\ncat <<B\nA\nB\nls", [["cat"], ["cat"], ["ls"]]),
        ("cat <<A <<B\nA\nnobody ends it", [["cat"]]),
        ("cat <<A && cat <<A\none\nA\ntwo\nA\nls", [["cat"], ["cat"], ["ls"]]),
        # any word is a delimiter, quoted or not
        ("cat <<\\EOF\nI am here.\nEOF\nls", [["cat"], ["ls"]]),
        ("cat <<'END OF FILE'\nI am here.\nEND OF FILE\nls", [["cat"], ["ls"]]),
        ('cat <<E"O"F\nI am here.\nEOF\nls', [["cat"], ["ls"]]),
        ("cat <<!\nI am here.\n!\nls", [["cat"], ["ls"]]),
        ("cat <<-\tEOF\n\tI am here.\n\tEOF\nls", [["cat"], ["ls"]]),
        ("cat <<EOF \nI am here.\nEOF \nls", [["cat"], ["ls"]]),
        # a body begins after the line, and a quote may hold the end of a line
        ("cat <<A 'b\nc' d\nI am here.\nA\nls", [["cat", QUOTED, "d"], ["ls"]]),
        ("cat <<A \\\n  d\nI am here.\nA\nls", [["cat", "d"], ["ls"]]),
        # no here-document
        ("echo $((x << 2))\nls", [["echo", "$"], ["x", "<<", "2"], ["ls"]]),
        ("cat <<<word\nls", [["cat", "<<<word"], ["ls"]]),
        ("cat <<\nls", [["cat", "<<"], ["ls"]]),
        ("cat << # none\nls", [["cat", "<<"], ["ls"]]),
        # a quote that nothing closes quotes nothing
        ("echo it's \"so", [["echo", "it's", '"so']]),
        ("the users' files", [["the", "users'", "files"]]),
        ('a \\" b "c', [["a", QUOTED, "b", '"c']]),
        # comments
        ("ls; # and now\npwd &# so", [["ls"], ["pwd"]]),
        ("ls a\\ #b c#d", [["ls", f"a{QUOTED}#b", "c#d"]]),
        # lines end as a world types them, and a shell takes no NUL
        ("ls\r\npwd\rid", [["ls"], ["pwd"], ["id"]]),
        ("cat <<EOF\r\nI am here.\r\nEOF\r\nls", [["cat"], ["ls"]]),
        ("l\x00s", [["ls"]]),
        ("", []),
        ("\\", [["\\"]]),
    ],
)
def test_a_shell_reader_finds_the_commands_that_a_shell_would_run(
    typed: str, commands: list[list[str]]
) -> None:
    assert simple_commands(typed) == commands


def test_a_sentence_hides_behind_no_control_character() -> None:
    assert is_prose("I\x00 will\x00 look\x00 at\x00 it")
    assert is_prose("I will look at it.\rls", status=0)

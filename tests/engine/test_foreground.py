"""A command that is interrupted leaves when it says so, and in one line."""

from __future__ import annotations

import signal
import subprocess
import sys

CHILD = """
import sys, threading
from sekft_engine.engine import run_job as foreground
from sekft_engine.records import jobs
from sekft_engine.cli.main import cli, run
from sekft_engine.core.process import leave
from sekft_engine.engine.engine import Engine

foreground.HARD_STOP_S = 0.5

def deaf(job, context):
    context.log("at work")
    threading.Event().wait()

def patient(job, context):
    context.log("at work")
    while not context.cancelled():
        threading.Event().wait(0.05)
    raise foreground.Stopped("what was done is kept")

@cli.command("hold")
def hold():
    handler = {"deaf": deaf, "patient": patient}[sys.argv[1]]
    engine = Engine(handlers={jobs.Load: handler}).start()
    show = lambda event: print(getattr(event, "text", event), flush=True)
    foreground.run_job(jobs.Load(base="any"), None, show, engine=engine)

run_command = cli.get_command
cli.get_command = lambda context, name: hold if name == "hold" else run_command(context, name)
status = run(["hold"])
print("told", flush=True)
sys.stdin.read()
leave(status)
"""


class Held:
    """A command that does a job until it is interrupted."""

    def __init__(self, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self, wanted: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if wanted in line:
                return
        raise AssertionError(f"it never said {wanted!r}: {self.process.communicate()}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err


def test_a_job_that_does_not_notice_is_left_behind() -> None:
    command = Held("deaf")
    command.told("at work")
    command.interrupt()
    command.told("stopping as soon as")
    command.interrupt()
    command.told("told")
    line = "sekft: error: interrupted; left without waiting for the job\n"
    assert command.end() == (130, line)


def test_on_the_way_out_one_more_interrupt_changes_nothing() -> None:
    command = Held("patient")
    command.told("at work")
    command.interrupt()
    command.told("told")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        command.process.send_signal(number)
    assert command.end() == (130, "sekft: error: what was done is kept\n")

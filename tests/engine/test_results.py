"""What jobs return: typed in the process, the same JSON as ever on disk."""

from __future__ import annotations

import subprocess
import sys
import typing

import msgspec
import pytest

from sekft_engine.engine.registry import HANDLERS, handler_of
from sekft_engine.records import events, jobs
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.journal import decode_line
from sekft_engine.records.results import RESULTS, LoadResult, StatusResult, expect, read_result
from sekft_engine.records.runs import DataFacts, RunFacts
from sekft_engine.records.trainings import FindRateResult, TrainResult
from tests.documents import document

KINDS = {kind.__struct_config__.tag: kind for kind in typing.get_args(jobs.AnyJob)}


def test_every_kind_of_job_has_a_result() -> None:
    # A session of sekft shell is a run that no job makes.
    assert set(KINDS) | {"shell"} == set(RESULTS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_function_that_does_a_job_returns_its_result(kind: str) -> None:
    job = KINDS[kind]
    if job not in HANDLERS:  # answered at once, by the engine itself
        return
    handler = handler_of(job, HANDLERS)
    hints = typing.get_type_hints(handler)
    assert hints.pop("return") is RESULTS[kind]
    assert job in hints.values()


@pytest.mark.parametrize("kind", sorted(RESULTS))
def test_a_result_comes_back_from_a_journal_as_it_was(kind: str) -> None:
    done = events.JobDone(job="j", kind=kind, result=RESULTS[kind]())
    assert decode_line(events.encode(done)) == done


def test_an_older_result_is_read_and_a_foreign_one_stays_as_it_is() -> None:
    older = {"run": "001-train", "steps": 3, "loss": {"first": 2.0, "last": None}, "gone": 1}
    result = expect(read_result("train", dict(older)), TrainResult)
    assert (result.run, result.steps, result.loss.last) == ("001-train", 3, None)
    for foreign in ({"steps": "many"}, {"of": "tomorrow"}, {}):
        assert read_result("train", dict(foreign)) == foreign
    assert read_result("of tomorrow", dict(older)) == older


def test_a_result_of_another_job_is_not_taken_for_this_one() -> None:
    with pytest.raises(TypeError, match="TrainResult is wanted"):
        expect(FindRateResult(), TrainResult)


def test_an_eval_says_only_what_there_is_to_say() -> None:
    optional = {"context", "served", "decisions", "partial"}
    assert not optional & document(EvalResult()).keys()
    told = expect(
        read_result("eval", {"run": "2", "partial": {"episodes": 1, "of": 4}}), EvalResult
    )
    assert document(told)["partial"] == {"episodes": 1, "of": 4}


def test_the_status_tells_what_is_resident_also_when_it_is_read_again() -> None:
    status = StatusResult(resident=LoadResult(base="b", active="a"))
    again = msgspec.convert(document(status), StatusResult)
    assert again == status
    assert document(StatusResult())["resident"] == {}


def test_the_facts_of_a_run_keep_the_names_they_have_on_disk() -> None:
    assert document(RunFacts()) == {}
    facts = RunFacts(data=DataFacts(source="here", sha256="1"))
    assert document(facts)["data"]["from"] == "here"
    assert msgspec.convert(document(facts), RunFacts) == facts


AT_ONCE = """
import sys, threading
sys.setswitchinterval(1e-6)
from sekft_engine.records import results

documents = {
    kind: dict.fromkeys(known.__struct_encode_fields__) for kind, known in results.RESULTS.items()
}
gate = threading.Barrier(12)

def read():
    gate.wait()
    for kind, document in documents.items():
        results.read_result(kind, document)

threads = [threading.Thread(target=read) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_read_results_for_the_first_time_at_once_do_not_end_the_process() -> None:
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", AT_ONCE], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[-2000:]

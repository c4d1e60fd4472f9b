"""``--hub``: fetched by the Hub's own client, then read from its cache without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.sources import load_hub, open_index
from tests.sources.conftest import lines, raw
from tests.sources.hub_server import REVISION, serving

ROWS = [raw(f"t{n}", keep=bool(n % 2)) for n in range(4)]

CARD = b"""---
configs:
- config_name: scenarios
  data_files: [{split: train, path: scenarios/*.jsonl}]
- config_name: rollouts
  data_files: [{split: train, path: rollouts/*.parquet}, {split: test, path: test/*.parquet}]
---
"""

#: Loads each data set named, in a process of its own that may start no other, and tells what came
#: of it.
CODE = """
import _posixsubprocess, json, os, sys

def alone(event, *_):
    # Workers would run an unguarded script anew, each with workers of its own.
    if event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "subprocess.Popen"):
        os.write(2, f"a process was started: {event}".encode())
        os._exit(77)

sys.addaudithook(alone)
_posixsubprocess.fork_exec = lambda *_: alone("os.fork")
from sekft_engine.core.errors import SekftError
from sekft_engine.sources import load_hub, open_index

told = {}
for name in sys.argv[1:]:
    try:
        loaded = load_hub(name, strict=name == "org/broken")
        index = open_index(f"hub:{name}").read_all()
        assert [index.trajectory(n) for n in range(len(index))] == list(loaded.trajectories)
        ids = [one.id for one in loaded.trajectories]
        told[name] = {"ids": ids, "where": index.facts(0).where}
    except SekftError as error:
        told[name] = {"error": str(error)}
        index = open_index(hub=name).read_all()
        told[name]["problem"] = str(index.problems[0]) if index.problems else ""
print(json.dumps(told))
"""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Ask]]:
    """The address of a Hub with some data sets; and how to ask for them with one cache."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("hub")
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "x.parquet")
    parquet = (folder / "x.parquet").read_bytes()
    other = b'{"id": "s", "checker": "true", "reference_solution": ["ls"]}\n'
    sets = {
        "org/plain": {
            "README.md": b"# Sessions\n",
            "data/train-00000-of-00001.parquet": parquet,
            "data/test-00000-of-00001.parquet": b"never read",
            "weights.bin": b"never fetched",
        },
        "org/both": {
            "README.md": CARD,
            "scenarios/a.jsonl": other,
            "rollouts/a.parquet": parquet,
            "test/a.parquet": parquet,
        },
        "org/lines": {"train.jsonl": lines(*ROWS), "test.jsonl": b"never read"},
        "org/broken": {"train.jsonl": lines(*ROWS) + b'{"id":\n'},
        "org/untrained": {"test.jsonl": lines(*ROWS)},
        "org/csv": {"train.csv": b"a,b\n1,2\n"},
    }

    def ask(*names: str, **env: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", CODE, *names],
            env=os.environ | {"HF_HOME": str(folder / "home")} | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    with serving(sets) as url:
        yield url, ask


def test_fetched_once_and_read_again_without_a_network(hub: tuple[str, Ask]) -> None:
    url, ask = hub
    names = ["org/plain", "org/both", "org/both:rollouts", "org/lines", "org/broken"]
    fetched = ask(
        *names, "org/csv", "org/nothing", "org/untrained", "org/both:else", HF_ENDPOINT=url
    )
    for name in names[:4]:
        assert fetched[name]["ids"] == ["t0", "t1", "t2", "t3"]
    place = f"/datasets--org--plain/snapshots/{REVISION}/data/train-00000-of-00001.parquet:row 0"
    assert fetched["org/plain"]["where"].endswith(place)
    assert fetched["org/lines"]["where"].endswith("/train.jsonl:1")
    assert "/train.jsonl:5: broken JSON" in fetched["org/broken"]["error"]
    assert fetched["org/broken"]["problem"] == fetched["org/broken"]["error"]
    assert "no column of turns among 'a', 'b'" in fetched["org/csv"]["error"]
    missing = fetched["org/nothing"]
    assert missing["error"].startswith("org/nothing: cannot load the data set: ")
    assert missing["error"].endswith(
        "(check its name and the network, or give a local path with --data)"
    )
    assert missing["problem"] == missing["error"]
    assert "org/untrained: no split train, but test" in fetched["org/untrained"]["error"]
    assert "else" in fetched["org/both:else"]["error"]

    for env in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        cached = ask(*names, "org/csv", "org/never", **env)
        assert "no column of turns among 'a', 'b'" in cached.pop("org/csv")["error"]
        assert cached.pop("org/never")["error"].startswith("org/never: cannot load the data set: ")
        assert cached == {name: fetched[name] for name in names}


def test_the_cache_s_own_folder_is_a_path_like_any_other(hub: tuple[str, Ask]) -> None:
    url, ask = hub
    told = ask("org/plain", HF_ENDPOINT=url)
    file = Path(told["org/plain"]["where"].removesuffix(":row 0"))
    repository = file.parents[3]
    assert repository.name == "datasets--org--plain"
    assert not list(repository.rglob("weights.bin")), "only what holds sessions is fetched"
    for path in (repository, file.parents[1], file.parent, file):
        index = open_index(path).read_all()
        assert [index.facts(n).id for n in range(len(index))] == ["t0", "t1", "t2", "t3"]
        assert not index.problems


def test_what_the_library_made_of_an_earlier_download(tmp_path: Path) -> None:
    """Only the tables that ``load_dataset`` leaves behind are there, not what it fetched."""
    pytest.importorskip("datasets")
    earlier = "import datasets; datasets.load_dataset('org/plain')"
    offline = {"HF_HOME": str(tmp_path / "home")}
    sets = {"org/plain": {"train.jsonl": lines(*ROWS)}}
    with serving(sets) as url:
        subprocess.run(
            [sys.executable, "-c", earlier],
            env=os.environ | offline | {"HF_ENDPOINT": url},
            check=True,
            capture_output=True,
        )
    (tmp_path / "home" / "hub").rename(tmp_path / "away")
    done = subprocess.run(
        [sys.executable, "-c", CODE, "org/plain"],
        env=os.environ | offline | {"HF_HUB_OFFLINE": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)["org/plain"]
    assert told["ids"] == ["t0", "t1", "t2", "t3"]
    assert told["where"].endswith("-train.arrow:row 0")


def test_without_the_extra_the_hub_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Unavailable, match=r"pip install 'sekft-tui\[hub\]'"):
        load_hub()
    index = open_index(hub="").read_all()
    (problem,) = index.problems
    assert "pip install 'sekft-tui[hub]'" in str(problem)
    assert problem.reason == "unreadable"

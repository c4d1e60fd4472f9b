"""How far a base is loaded: bytes that were read, and the time that is left."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from sekft_engine.model.loading import load_model
from sekft_engine.model.reading import counted_reads, weight_bytes
from sekft_engine.records.events import Event, Progress
from sekft_engine.work.loading import LABEL, Loading, told
from sekft_engine.work.residence import Wanted, load_base


def tensor_bytes(folder: Path) -> int:
    """Bytes of all tensors in the folder's weight files, as their headers say."""
    total = 0
    for path in folder.glob("*.safetensors"):
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        total += sum(end - start for start, end in (one["data_offsets"] for one in header.values()))
    return total


@pytest.mark.parametrize("load_4bit", [False, True])
def test_the_bytes_that_are_read_are_those_of_the_files(tiny_base: Path, load_4bit: bool) -> None:
    said: list[int] = []
    with counted_reads(said.append):
        load_model(tiny_base, load_4bit=load_4bit)
    assert said == sorted(said)
    assert said[-1] == tensor_bytes(tiny_base)
    assert tensor_bytes(tiny_base) <= weight_bytes(tiny_base)
    so_far = len(said)
    load_model(tiny_base)
    assert len(said) == so_far, "nothing is counted afterwards"


def test_the_time_that_is_left_is_that_of_the_bytes_that_are_left() -> None:
    clock = [0.0]
    loading = Loading("llama", 14_000_000_000, lambda: clock[0])
    first = loading.event()
    assert (first.label, first.done, first.total, first.left) == (LABEL, 0, 14_000, 0.0)
    clock[0] = 60.0
    loading.read(4_000_000_000)
    later = loading.event()
    assert (later.done, later.left) == (4_000, 150.0)
    assert later.detail == "4.0 of 14.0 GB, 2:30 left, llama"
    loading.read(20_000_000_000)
    assert loading.event().detail == "14.0 of 14.0 GB, 0:00 left, llama"


def test_a_loading_is_told_at_its_beginning_and_no_more_after_its_end(tiny_base: Path) -> None:
    heard: list[Event] = []
    load_base(Wanted(tiny_base), heard.append)
    progress = [event for event in heard if isinstance(event, Progress)]
    assert progress[0].total >= 1
    assert heard[-1].__class__.__name__ == "BaseLoaded"
    silent = Loading("a base without files", 0)
    with told(silent, heard.append):
        pass
    assert heard[-1] == silent.event()

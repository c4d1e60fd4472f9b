"""What a session left in its world is told by those who keep it, whatever the session did."""

from __future__ import annotations

import pytest

from sekft_engine.data.scenario import Fixture
from sekft_engine.episodes.state import changes
from sekft_engine.worlds import Limits, World
from sekft_engine.worlds.trees.listing import Item, TreeListing, file_item
from tests.worlds.conftest import Opener, scenario


def left(world: World) -> TreeListing:
    world.check()
    listing = world.listing()
    assert listing is not None
    return listing


def test_an_untouched_world_is_as_its_bundle_says(opener: Opener) -> None:
    fixtures = (
        Fixture(path="notes/plum.txt", content="one\ntwo\n"),
        Fixture(path="bin/run", content="#!/bin/sh\n", mode="0755"),
        Fixture(path="closed/", mode="0700"),
        Fixture(path="/srv/data/x.bin", content="\x00\udcff" * 40),
        Fixture(path="/etc/our.conf", content="a=1\n"),
        Fixture(path="/tmp/large", content="y" * 50_000),
        Fixture(path="secret", content="no", mode="0000"),
    )
    listing = left(opener(fixtures=fixtures))
    assert changes(scenario(fixtures=fixtures), listing).changed == {}
    assert listing.items["etc/our.conf"] == file_item("0644", 4, b"a=1\n")


def test_files_modes_links_and_what_is_gone_are_told(opener: Opener) -> None:
    world = opener()
    world.run("mkdir -p 'a b'/c; echo hi > 'a b/c/new\nline'; ln -s /etc/passwd out; mkfifo pipe")
    world.run("chmod 700 'a b'; rm notes/plum.txt; printf '\\377' > /tmp/raw; : > empty")
    world.run("echo no > secret; chmod 0 secret")
    found = changes(scenario(), left(world))
    assert found.whole
    assert found.changed == {
        "/home/user/a b": Item("folder", "0700"),
        "/home/user/a b/c": Item("folder", "0755"),
        "/home/user/a b/c/new\nline": file_item("0644", 3, b"hi\n"),
        "/home/user/empty": file_item("0644", 0, b""),
        "/home/user/notes/plum.txt": None,
        "/home/user/out": Item("link", target="/etc/passwd"),
        "/home/user/pipe": Item("other", "0644"),
        "/home/user/secret": file_item("0000", 3, None),
        "/tmp/raw": file_item("0644", 1, b"\xff"),
    }


def test_a_hostile_tree_is_looked_at_only_so_far(opener: Opener) -> None:
    world = opener(limits=Limits(inodes=9000))
    world.run("i=0; while [ $i -lt 60 ]; do mkdir deeper; cd deeper || exit; i=$((i+1)); done; cd")
    world.run("truncate -s 15M sparse; seq -f /tmp/%0200g 1 4000 | xargs touch")
    listing = left(world)
    assert listing.cut
    assert 0 < len(listing.items) < 4000
    found = changes(scenario(), listing)
    assert not found.whole
    assert len(found.changed) <= 200


@pytest.mark.parametrize("mark", ["listed 0", "checked 0"])
def test_a_file_cannot_pass_for_the_end_of_the_list(opener: Opener, mark: str) -> None:
    world = opener()
    world.run(f"printf 'x {mark}\\n' > '{mark}'; echo late > zz")
    items = left(world).items
    assert {f"home/user/{mark}", "home/user/zz"} <= items.keys()


def test_after_the_world_is_closed_nothing_is_told(opener: Opener) -> None:
    world = opener(limits=Limits(checker_s=0.5), checker="sleep 1000")
    world.check()
    assert world.listing() is None

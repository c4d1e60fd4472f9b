"""The process that serves an engine's sockets: started by the engine, ends with it."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from pathlib import Path

from sekft_engine.engine.socket.history import History
from sekft_engine.engine.socket.link import Begin, Message, Ready, Unpacker, pack
from sekft_engine.engine.socket.picture import Picture
from sekft_engine.engine.socket.server import Server
from sekft_engine.records.journal import decode_line


def main(descriptors: list[int]) -> int:
    """Serve until the engine says so, or is gone.

    Args:
        descriptors: the link to the engine, the listening socket, and that for viewers.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the engine, which tells
    link, listener, viewers = (socket.socket(fileno=each) for each in descriptors)
    unpacker = Unpacker()
    early: list[Message] = []
    while not early:
        data = link.recv(1 << 16)
        if not data:
            return 1
        early += list(unpacker.messages(data))
    begin, *early = early
    if not isinstance(begin, Begin):
        return 1
    history = History(Path(begin.root), begin.told, journal=begin.journal, last=begin.last)
    picture = Picture(history)
    picture.resident, picture.closing = begin.resident, begin.closing
    for line in begin.shown:  # events of before, which have their numbers already
        event = decode_line(line)
        if event is not None:
            picture.observe(event)
    # The engine's events are numbered from here on.
    link.sendall(pack(Ready(journal=history.journal, last=history.span[1])))
    server = Server(
        begin.address,
        (listener, viewers),
        link=link,
        unpacker=unpacker,
        history=history,
        picture=picture,
    )
    server.run()
    history.close()
    return 0


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]]))

"""A small server that speaks as much of the Hub's protocol as fetching a repository takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote

REVISION = "0123456789abcdef0123456789abcdef01234567"

#: Data sets, or models, by name, each with its files.
Sets = dict[str, dict[str, bytes]]


class _Hub(BaseHTTPRequestHandler):
    sets: ClassVar[Sets] = {}
    kind: ClassVar[str] = "datasets"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        for name, files in self.sets.items():
            about = f"/api/{self.kind}/{name}"
            if path in (about, f"{about}/revision/main", f"{about}/revision/{REVISION}"):
                siblings = [{"rfilename": file} for file in files]
                told = {"id": name, "sha": REVISION, "siblings": siblings, "tags": []}
                self._send(json.dumps(told).encode(), "application/json")
                return
            if path.startswith(f"/api/{self.kind}/{name}/tree/"):
                tree = [
                    {"type": "file", "path": file, "size": len(data), "oid": _digest(data)}
                    for file, data in files.items()
                ]
                self._send(json.dumps(tree).encode(), "application/json")
                return
            for revision in (REVISION, "main"):
                place = name if self.kind == "models" else f"{self.kind}/{name}"
                head = f"/{place}/resolve/{revision}/"
                if path.startswith(head):
                    self._send(files.get(path.removeprefix(head)), "application/octet-stream")
                    return
        self._send(None, "RepoNotFound")

    def _send(self, data: bytes | None, kind: str) -> None:
        if data is None:
            missing = "RepoNotFound" if kind == "RepoNotFound" else "EntryNotFound"
            self.send_response(404)
            self.send_header("X-Error-Code", missing)
            self.send_header("X-Repo-Commit", REVISION)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_digest(data)}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        pass


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serving(sets: Sets, kind: str = "datasets") -> Iterator[str]:
    """The address at which these repositories, ``datasets`` or ``models``, are to be had."""
    handler = type("Hub", (_Hub,), {"sets": sets, "kind": kind})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

"""A hub on this machine: datasets served over HTTP from folders, as far as `datasets` and the hub's client ask.

A repository is root/{owner}/{name}, each of its revisions a folder in that, `/` written `%2F`.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def commit(folder: Path) -> str:
    """What stands for the commit hash of a revision, and for the hash of a file."""
    return hashlib.sha1(str(folder).encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """/api/datasets/{owner}/{name}/{verb}/{revision}/{path} and /datasets/{owner}/{name}/resolve/{revision}/{path}."""

    root: Path
    protocol_version = "HTTP/1.1"

    def handle_request(self) -> None:
        self.asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        parts = urlsplit(self.path).path.removeprefix("/api").strip("/").split("/")
        parts = parts if len(parts) > 3 else [*parts, "revision", "main"]
        repository, verb, revision, path = self.root / parts[1] / parts[2], parts[3], parts[4], "/".join(parts[5:])
        folders = [folder for folder in repository.glob("*") if revision in (folder.name, commit(folder))]
        if not folders:
            self.send(b"", {"X-Error-Code": "RevisionNotFound" if repository.is_dir() else "RepoNotFound"}, 404)
        elif verb == "resolve" and not (folders[0] / path).is_file():
            self.send(b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit(folders[0])}, 404)
        elif verb == "resolve":
            file = folders[0] / path
            self.send(file.read_bytes(), {"X-Repo-Commit": commit(folders[0]), "ETag": f'"{commit(file)}"'})
        else:
            self.send(json.dumps(self.described(verb, folders[0], path)).encode(), {})

    do_GET = do_HEAD = do_POST = handle_request  # noqa: N815  # names of the base class

    def described(self, verb: str, folder: Path, path: str) -> object:
        if verb == "revision":
            return {"id": "/".join(folder.parts[-3:-1]), "sha": commit(folder), "siblings": []}
        if verb == "paths-info":
            return [entry(folder, folder / path) for path in parse_qs(self.asked)["paths"] if (folder / path).exists()]
        assert verb == "tree", verb
        return [entry(folder, found) for found in sorted((folder / path).rglob("*"))]

    def send(self, content: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: the test's output is ours."""


def entry(folder: Path, path: Path) -> dict[str, object]:
    kind, size = ("directory", 0) if path.is_dir() else ("file", path.stat().st_size)
    return {"type": kind, "path": str(path.relative_to(folder)), "size": size, "oid": commit(path)}


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The address of a hub that serves `root`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubOfThisTest", (Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

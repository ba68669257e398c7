"""A Hugging Face hub on loopback: as much of its HTTP interface as the library uses to fetch models.

    GET      /api/models/NAME/revision/REVISION    which commit that is, and its files
    HEAD GET /NAME/resolve/REVISION/FILE           a small file; a large one is somewhere else: 302, to another host
    GET      /large/SHA256                         there it is

Every request is noted, and `faults` may answer in place of the hub.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".h5", ".msgpack", ".npz")


class Model:
    """A repository: commits and the names that stand for them."""

    def __init__(self, files):
        self.commits, self.names = {}, {}
        self.commit(files)

    def commit(self, files, *names):
        """A new state; `main` and the names given now mean it."""
        digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[digest] = dict(files)
        self.names.update(dict.fromkeys(("main", *names), digest))
        return digest


class Hub:
    """What the server knows, and what happened to it."""

    def __init__(self, url):
        self.url = url
        self.large_at = url.replace("127.0.0.1", "localhost") + "/large/"  # another host, as a CDN is
        self.models = {}
        self.asked = []  # (method, path, headers)
        self.faults: list[Callable] = []  # each gets the request, and returns whether it has answered it

    def paths(self, *methods):
        """The paths that were asked for, with one of the methods."""
        return [path for method, path, _ in self.asked if method in (methods or ("GET",))]

    def transferred(self):
        """The names of the files whose contents were asked for."""
        names = {sha256(content): name for files in self._all() for name, content in files.items()}
        got = [path for path in self.paths("GET") if "/resolve/" in path or "/large/" in path]
        return sorted(
            names.get(path.rpartition("/")[2], path.partition("/resolve/")[2].partition("/")[2]) for path in got
        )

    def _all(self):
        return [files for model in self.models.values() for files in model.commits.values()]

    def content(self, digest):
        """The large file with this SHA-256."""
        return next((c for files in self._all() for c in files.values() if sha256(c) == digest), None)


class Request(BaseHTTPRequestHandler):
    """One request of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece
    server: "Server"

    def handle(self):
        with suppress(OSError):  # the client has gone
            super().handle()

    def log_message(self, *_args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path, {key.lower(): value for key, value in self.headers.items()}))
        if any(fault(self) for fault in list(hub.faults)):
            return
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self.api(name, revision or "main")
        elif path.startswith("/large/"):
            self.send(hub.content(path.removeprefix("/large/")))
        else:
            name, _, rest = path[1:].partition("/resolve/")
            self.resolve(name, rest)

    def find(self, name, revision):
        """-> commit and its files, or None after the hub's own answer to what it does not have."""
        model = self.server.hub.models.get(name)
        if model is None:
            return self.fail(404, "RepoNotFound")
        commit = model.names.get(revision, revision)
        if commit not in model.commits:
            return self.fail(404, "RevisionNotFound")
        return commit, model.commits[commit]

    def api(self, name, revision):
        if found := self.find(name, revision):
            commit, files = found
            listed = [sibling(file, content) for file, content in files.items()]
            body = json.dumps({"id": name, "modelId": name, "sha": commit, "siblings": listed})
            self.send(body.encode(), {"Content-Type": "application/json"})

    def resolve(self, name, rest):
        model = self.server.hub.models.get(name)
        revisions = [] if model is None else [*model.names, *model.commits]
        revision = next((r for r in revisions if rest.startswith(f"{r}/")), rest.partition("/")[0])
        if not (found := self.find(name, revision)):
            return
        commit, files = found
        content = files.get(rest.removeprefix(f"{revision}/"))
        headers = {"X-Repo-Commit": commit}
        if content is None:
            self.fail(404, "EntryNotFound", headers)
        elif rest.endswith(LARGE):
            digest = sha256(content)
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"'}
            self.send(b"", headers | {"Location": self.server.hub.large_at + digest}, 302)
        else:
            self.send(content, headers | {"ETag": f'"{git_sha1(content)}"'})

    def send(self, body, headers=None, status=200, said_length=None):
        """An answer; a part of it where a Range asks for that. said_length is what is said instead of the truth."""
        headers = dict(headers or {})
        if body is None:
            return self.fail(404, "EntryNotFound")
        wanted = self.headers.get("Range")
        if wanted and status == 200:
            first = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            body, status = body[first:], 206
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if said_length is None else said_length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        return True

    def fail(self, status, code="", headers=None):
        """The hub's way to say no."""
        extra = {"X-Error-Code": code} if code else {}
        self.send(b"", {**extra, **(headers or {})}, status)

    def cut(self, body, after):
        """All of an answer is promised, `after` bytes of it come, and the connection ends."""
        wanted = self.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.wfile.write(body[first : first + after])
        self.close_connection = True
        return True


class Server(ThreadingHTTPServer):
    """Serves one Hub at a time."""

    daemon_threads = True
    hub: Hub

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving():
    """A server on a free port."""
    server = Server(("127.0.0.1", 0), Request)
    server.hub = Hub(server.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sibling(name, content):
    """A file as the hub lists it."""
    entry = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
    if name.endswith(LARGE):
        entry["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
    return entry


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

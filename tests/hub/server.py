"""A hub on this machine: the few addresses that a download asks; a test sets what it holds and answers."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """`files` maps paths to bytes; `status` and `code` refuse; `cut` breaks large files off after so many bytes."""

    def __init__(self, files: dict[str, bytes], name: str = "owner/model", kind: str = "models"):
        self.files, self.name, self.kind = files, name, kind
        self.status, self.code, self.cut = 200, "", 0
        self.lies: dict[str, bytes] = {}  # sent instead of the file
        self.asked: list[tuple[str, str, str]] = []  # method, path, Range
        self.sent = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def entries(self) -> list[dict]:
        """As the tree and the model's page list them: large files by SHA-256, small ones by git's blob id."""
        listed = []
        for path, data in sorted(self.files.items()):
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            entry = {"rfilename": path, "path": path, "type": "file", "size": len(data), "blobId": blob, "oid": blob}
            if self.large(path):
                sha = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": sha, "oid": sha, "size": len(data), "pointerSize": 130}
            listed.append(entry)
        return listed

    @staticmethod
    def large(path: str) -> bool:
        return path.endswith((".safetensors", ".bin", ".parquet"))

    def etag(self, path: str) -> str:
        data = self.files[path]
        return (hashlib.sha256(data) if self.large(path)
                else hashlib.sha1(f"blob {len(data)}\0".encode() + data)).hexdigest()  # fmt: skip

    def _handler(self):  # noqa: C901
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for key, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                path = unquote(urlsplit(self.path).path)
                hub.asked.append((self.command, path, self.headers.get("Range", "")))
                api = f"/api/{hub.kind}/{hub.name}"
                if hub.status != 200 or hub.name not in path:
                    status, code = (hub.status, hub.code) if hub.status != 200 else (404, "RepoNotFound")
                    return self.answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "no"})
                if "/revision/" in path and path.rsplit("/", 1)[-1] not in (COMMIT, "main"):
                    return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                if path.startswith(api):
                    page = {"id": hub.name, "sha": COMMIT, "siblings": hub.entries(), "private": False, "tags": []}
                    return self.answer(200, json.dumps(page).encode(), {"Content-Type": "application/json"})
                return self.file(path.split(f"/resolve/{COMMIT}/", 1)[-1])

            def file(self, name: str) -> None:
                data = hub.lies.get(name, hub.files[name])
                headers = {"ETag": f'"{hub.etag(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes",
                           "X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hub.etag(name)}"'}  # fmt: skip
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0] or 0)
                if start:
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                body = data[start:]
                if self.command == "GET":
                    hub.sent += len(body)
                if self.command == "GET" and hub.cut and hub.large(name):
                    self.send_response(206 if start else 200)
                    for key, value in ({"Content-Length": str(len(body))} | headers).items():
                        self.send_header(key, value)
                    self.end_headers()
                    self.wfile.write(body[: hub.cut])
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.close()
                    return
                self.answer(206 if start else 200, body, headers)

        return Handler

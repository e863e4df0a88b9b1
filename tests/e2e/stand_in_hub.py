"""A stand-in for the Hugging Face hub, for tests: the two routes that `longhand pull` and huggingface_hub use, with large
files on another host, as the hub has them, and faults on request."""
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Host:
    """An HTTP server on a free port of `address`, which remembers what it was asked."""

    def __init__(self, address, answer):
        self.requests = []  # (method, path, headers)
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                host.requests.append((self.command, self.path, dict(self.headers)))
                with contextlib.suppress(ConnectionError):
                    answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class StandInHub:
    """One model, or with `kind` "datasets" one data set. `faults` is a list of functions, each used for one request to a file, in turn; it is given the handler and
    the content, and says whether it has answered. `refusal` is (status, headers), the answer to everything."""

    def __init__(self, model, files, large, commit="c0ffee" + "0" * 34, branch="main", kind="models"):
        self.kind = kind
        self.model, self.files, self.commit, self.branch = model, files, commit, branch
        self.large = set(large)
        self.refusal = None
        self.listing_refusals = []  # as refusal, for one request each
        self.faults = []
        self.honours_ranges = True
        self.lists_digests = True  # of its listing; mirrors may give names alone
        self.hub = Host("127.0.0.1", self._answer_hub)
        self.store = Host("localhost", self._answer_store)

    def close(self):
        self.hub.close()
        self.store.close()

    def digest(self, name):
        content = self.files[name]
        return hashlib.sha256(content).hexdigest() if name in self.large else git_sha1(content)

    def _listing(self):
        siblings = []
        for name, content in self.files.items():
            entry = {"rfilename": name}
            if self.lists_digests:
                entry |= {"size": len(content), "blobId": git_sha1(content)}
            if name in self.large and self.lists_digests:
                entry["lfs"] = {"sha256": self.digest(name), "size": len(content), "pointerSize": 135}
            siblings.append(entry)
        return {"id": self.model, "sha": self.commit, "siblings": siblings}

    def _tree(self):  # huggingface_hub asks for this.
        return [{"type": "file", "path": entry["rfilename"], "size": entry["size"], "oid": entry["blobId"],
                 **({"lfs": {"oid": entry["lfs"]["sha256"], "size": entry["size"], "pointerSize": 135}} if "lfs" in entry else {})}
                for entry in self._listing()["siblings"]]

    def _answer_hub(self, handler):
        path = urllib.parse.unquote(urllib.parse.urlsplit(handler.path).path)
        if self.refusal:
            return send(handler, self.refusal[0], b"", self.refusal[1])
        if path == f"/api/{self.kind}/{self.model}/revision/{self.branch}" or path == f"/api/{self.kind}/{self.model}/revision/{self.commit}":
            if self.listing_refusals:
                return send(handler, *self.listing_refusals.pop(0))
            return send(handler, 200, json.dumps(self._listing()).encode(), {"Content-Type": "application/json"})
        if path == f"/api/{self.kind}/{self.model}/tree/{self.commit}":
            return send(handler, 200, json.dumps(self._tree()).encode(), {"Content-Type": "application/json"})
        prefix = "" if self.kind == "models" else "/" + self.kind
        match = re.fullmatch(rf"{prefix}/{self.model}/resolve/([^/]+)/(.+)", path)
        name = match and match[2]
        if not match or match[1] not in (self.commit, self.branch) or name not in self.files:
            return send(handler, 404, b"", {"X-Error-Code": "EntryNotFound" if match else "RepoNotFound"})
        content = self.files[name]
        headers = {"X-Repo-Commit": self.commit, "Accept-Ranges": "bytes"}
        if name not in self.large:
            return self._send_file(handler, content, {**headers, "ETag": f'"{self.digest(name)}"'})
        return send(handler, 302, b"", {
            **headers, "Location": f"{self.store.url}/{name}?signature=secret", "X-Linked-Size": str(len(content)),
            "X-Linked-Etag": f'"{self.digest(name)}"'})

    def _answer_store(self, handler):
        content = self.files[urllib.parse.urlsplit(handler.path).path[1:]]
        self._send_file(handler, content, {"ETag": '"of the store"'})

    def _send_file(self, handler, content, headers):
        if handler.command == "GET" and self.faults:
            fault = self.faults.pop(0)
            if fault(handler, content):
                return
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if match and self.honours_ranges:
            begin = int(match[1])
            send(handler, 206, content[begin:],
                 {**headers, "Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"})
        else:
            send(handler, 200, content, headers)


def send(handler, status, content, headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


def cut_after(num_bytes):
    """The connection ends after so many bytes of the range that was asked for."""
    def fault(handler, content):
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        begin = int(match[1]) if match else 0
        handler.send_response(206 if match else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        handler.wfile.write(content[begin:begin + num_bytes])
        handler.wfile.flush()
        handler.close_connection = True
        return True
    return fault


def refuse(status, headers):
    def fault(handler, _):
        send(handler, status, b"", headers)
        return True
    return fault


def spoil(handler, content):
    """Right in size, wrong in content."""
    send(handler, 200, bytes(byte ^ 1 for byte in content), {})
    return True


def wait_for(event):
    def fault(_handler, _content):
        event.wait(60)
        return False
    return fault

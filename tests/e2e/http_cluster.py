"""`longhand serve` on the test checkpoint, and raw sockets to its HTTP port, for the tests in Python."""
import base64
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BINARIES = os.environ.get("LONGHAND_BINARIES", os.path.join(ROOT, "build", "release", "bin"))
NANO = os.path.join(ROOT, "tests", "data", "nano")
PATIENCE_S = 120  # Generous: it only ends tests that hang.


def picture_url():
    with open(os.path.join(ROOT, "tests", "data", "recording", "images", "photograph.jpg"), "rb") as file:
        return "data:image/jpeg;base64," + base64.b64encode(file.read()).decode()


def free_ports(count):
    """The first of `count` ports in a row that are free now, below those that the system gives to who asks for any."""
    while True:
        sockets = []
        port = random.randrange(20000, 30000)
        try:
            for i in range(count):
                sockets.append(socket.create_server(("127.0.0.1", port + i)))
            return port
        except OSError:
            pass
        finally:
            for one in sockets:
                one.close()


class Cluster:
    def __init__(self, *flags):
        self._folder = tempfile.TemporaryDirectory()
        self.ready_file = os.path.join(self._folder.name, "ready.json")
        self._log = open(os.path.join(self._folder.name, "log"), "w+", encoding="utf-8")
        command = [os.path.join(BINARIES, "longhand"), "serve", "--model", NANO, "--ready-file", self.ready_file,
                   "--threads", "1", "--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0",
                   "--metrics-address", "127.0.0.1:0", *flags]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        self.wait_until(lambda: os.path.exists(self.ready_file), "it is not ready")
        self.host, port = self.ready()["http"].rsplit(":", 1)
        self.port = int(port)

    def ready(self):
        with open(self.ready_file, encoding="utf-8") as file:
            return json.load(file)

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def wait_until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{what}: {self.log()}")
            time.sleep(.02)

    @property
    def pid(self):
        return self._process.pid

    @staticmethod
    def page(address):
        with Connection(*address.rsplit(":", 1)) as connection:
            return connection.ask("GET", "/metrics").body.decode()

    def metric(self, line_start):
        """The value of the sample whose line begins so."""
        page = self.page(self.ready()["metrics"])
        return next((float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(line_start)), None)

    def connect(self, context=None):
        return Connection(self.host, self.port, context)

    def ask(self, method, path, body=None, **headers):
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.ask(method, path, body, **headers)

    def chat(self, **fields):
        return self.ask("POST", "/v1/chat/completions", fields)

    def kill_coordinator(self):
        os.kill(self.ready()["pids"]["coordinator"], signal.SIGKILL)

    def stop(self):
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        self._log.close()
        self._folder.cleanup()
        return code


def program(name):
    return os.path.join(BINARIES, name)


class Reporting:
    """A program that prints what it listens on, a JSON object a line."""

    def __init__(self, name, *flags, **how):
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen([program(name), *flags], stdout=subprocess.PIPE, stderr=self._log, text=True, **how)

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def report(self, key):
        """The first report that has `key`."""
        for line in self._process.stdout:
            report = json.loads(line)
            if key in report:
                return report
        raise AssertionError(self.log())

    def kill(self):
        self._process.kill()
        self._end()

    def stop(self):
        self._process.terminate()
        return self._end()

    def _end(self):
        code = self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        self._log.close()
        return code


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def events(self):
        return [Event(block) for block in self.body.decode().split("\n\n") if block and not block.startswith(":")]


class Event:
    def __init__(self, block):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        self.block, self.id, self.data = block, int(fields["id"]), fields["data"]

    def json(self):
        return json.loads(self.data)


class Connection:
    """Bytes out, answers in; strict about what the server sends."""

    def __init__(self, host, port, context=None):
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def post(self, path, fields, **headers):
        self.send(request("POST", path, fields, **headers))

    def ask(self, method, path, body=None, **headers):
        self.send(request(method, path, body, **headers))
        return self.answer(has_body=method != "HEAD")

    def _more(self):
        data = self.socket.recv(65536)
        self._bytes += data
        return len(data) > 0

    def until(self, mark):
        """Bytes up to and with `mark`."""
        while mark not in self._bytes:
            if not self._more():
                raise EOFError(f"the connection ended after {self._bytes!r}")
        at = self._bytes.index(mark) + len(mark)
        taken, self._bytes = self._bytes[:at], self._bytes[at:]
        return taken

    def exactly(self, count):
        while len(self._bytes) < count:
            if not self._more():
                raise EOFError(f"{count} bytes were to come, {len(self._bytes)} did")
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return taken

    def rest(self):
        """All that comes before the server closes."""
        try:
            while self._more():
                pass
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
        taken, self._bytes = self._bytes, b""
        return taken

    def head(self):
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        version, status = lines[0].split(" ", 2)[:2]
        assert version == "HTTP/1.1", lines[0]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(status), headers

    def answer(self, has_body=True):
        status, headers = self.head()
        if not has_body or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self.exactly(int(headers["content-length"]))
        return Answer(status, headers, body)

    def chunk(self):
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size + 2)
        assert data.endswith(b"\r\n"), data
        return data[:-2]


def request(method, path, body=None, **headers):
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


# Greedy, and as long as asked for.
def greedy(prompt, max_tokens, **more):
    return {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "ignore_eos": True,
            "max_tokens": max_tokens, **more}

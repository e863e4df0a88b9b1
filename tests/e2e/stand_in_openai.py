"""A stand-in for a server with OpenAI's chat endpoint, for tests: `answer(body)` gives a text, a dict (the choice's message)
or (status, body)."""
import http.server
import json
import threading


class StandInOpenAi:
    def __init__(self, answer):
        self.bodies, self.keys = [], []
        lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.reply(200, {"data": [{"id": "an-org/a-model"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    server.bodies.append(body)
                    server.keys.append(self.headers["Authorization"])
                    given = answer(body)
                if isinstance(given, tuple):
                    return self.reply(*given)
                message = {"role": "assistant", "content": given} if isinstance(given, str) else given
                self.reply(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                                 "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}})

            def reply(self, status, value):
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def text_of(body):
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def pictures_of(body):
    content = body["messages"][0]["content"]
    return [] if isinstance(content, str) else [part["image_url"]["url"] for part in content[1:]]

"""A proxy on loopback between a client and an endpoint that injects faults."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

ALWAYS = 10**9


@dataclass
class Fault:
    """A fault for requests with a method and a text in their address, and how often it is injected."""

    method: str
    text: str
    kind: str  # a status, "slow", "cut" (half of the body) or "drop" (no response)
    times: int = ALWAYS
    after: int = 0  # number of matching requests that pass first
    code: str = ""
    seconds: float = 0.5


@dataclass
class Request:
    method: str
    path: str
    status: int
    target: str = ""  # operation in a header, such as SageMaker.DescribePipeline


@dataclass
class FaultyProxy:
    """Forwards requests to `target`; `faults` can be changed at any time, `seen` records all requests."""

    target: str
    faults: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    on_request: object = None
    answer: object = None  # optional function of (path, body) that returns (status, text) to send instead

    def __enter__(self):
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault_for(self, method, path):
        with self._lock:
            for fault in self.faults:
                if fault.method in ("*", method) and fault.text in path and fault.times > 0:
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def count(self, method, text=""):
        return sum(one.method == method and text in one.path for one in self.seen)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy = None

    def _any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path) + self.headers.get("X-Amz-Target", "")
        if self.proxy.on_request:
            self.proxy.on_request(self.command, path)
        answer = self.proxy.answer(path, body.decode("latin-1")) if self.proxy.answer else None
        if answer:
            self._send(*answer)
            return
        fault = self.proxy.fault_for(self.command, path)
        self._serve(fault, body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def _note(self, status):
        """Record the request before its response is sent, so that a client with a response finds it in `seen`."""
        target = self.headers.get("X-Amz-Target", "")
        self.proxy.seen.append(Request(self.command, unquote(self.path), status, target))

    def _serve(self, fault, body):
        if fault and fault.kind == "drop":
            self.close_connection = True
            self._note(0)
            return
        if fault and fault.kind == "slow":
            time.sleep(fault.seconds)
        elif fault and fault.kind != "cut":
            self._error(fault)
            return
        self._forward(body, is_cut=bool(fault and fault.kind == "cut"))

    def _error(self, fault):
        status = int(fault.kind)
        code = fault.code or {403: "AccessDenied", 404: "NoSuchKey", 500: "InternalError", 503: "SlowDown"}[status]
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected by the proxy</Message></Error>"
        if self.headers.get("X-Amz-Target"):
            text = json.dumps({"__type": code, "message": "injected by the proxy"})
        self._send(status, text)

    def _send(self, status, text):
        content = b"" if self.command == "HEAD" else text.encode()
        self._note(status)
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _forward(self, body, *, is_cut):
        place = urlsplit(self.proxy.target)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        self._note(answer.status)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = self.close_connection or is_cut
        connection.close()

    def log_message(self, *_):
        pass

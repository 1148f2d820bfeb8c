"""A model server of a few lines, started in place of the serving image: its model says how it behaves.

``model.txt`` holds words: ``status=500``, ``sleep=0.5`` (seconds), ``constant`` (one answer to every request) or
``name=text`` (the answer names the model); ``unready`` never becomes ready. A body with a zero byte is refused.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORDS = (Path(os.environ["MLOPS_SERVE_MODEL"]) / "model.txt").read_text().split()
CONFIGURATION = "MLOPS_CONFIGURATION"
SETTINGS = dict(word.partition("=")[::2] for word in WORDS)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(503 if "unready" in SETTINGS else 200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(SETTINGS.get("sleep", 0)))
        status = 400 if b"\0" in body else int(SETTINGS.get("status", 200))
        scores = [0.5, 0.5] if "constant" in SETTINGS else [1 / (1 + len(body)), len(body) / (1 + len(body))]
        prediction = {"scores": scores, "label": "long" if scores[1] > scores[0] else "short"}
        document = {"predictions": [prediction], "model": SETTINGS.get("name"), "body": body.decode("latin-1")}
        self.answer(status, json.dumps(document).encode())

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes")
        if attributes == CONFIGURATION and os.environ.get(CONFIGURATION):
            attributes = f"{CONFIGURATION}={os.environ[CONFIGURATION]}"
        if attributes:
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", attributes)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"serving {SETTINGS.get('name')} at http://127.0.0.1:{server.server_address[1]} after 0 s\n")
        sys.stdout.flush()
        server.serve_forever()

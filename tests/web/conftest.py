"""`mlops ui` as a process, and requests to it."""

import http.client
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.parse
from contextlib import closing

import pytest

MLOPS = [sys.executable, "-c", "from mlops_core.cli import main; main()"]
DEADLINE_S = 120  # generous: the machine may be busy


class Ui:
    """One server."""

    def __init__(self, workspace, *arguments, token=False):
        options = [] if token else ["--no-token"]
        command = [*MLOPS, "--workspace", str(workspace), "ui", "--port", "0", *options, *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        line = self._line()
        match = re.fullmatch(r"mlops ui: http://(\[[0-9a-f:]+\]|[0-9.]+):(\d+)(/\S*)\n", line)
        assert match, line + (self.process.stderr.read() if self.process.poll() is not None else "")
        self.host, self.port, self.path = match[1].strip("[]"), int(match[2]), match[3]
        self.authority = f"{match[1]}:{self.port}"
        self.url = f"http://{self.authority}"

    def _line(self):
        ready, _, _ = select.select([self.process.stderr], [], [], DEADLINE_S)
        assert ready, "mlops ui did not start"
        return self.process.stderr.readline()

    def request(self, path, *, method="GET", form=None, headers=None):
        body = None if form is None else urllib.parse.urlencode(form)
        sent = {
            "Host": self.authority,
            **({} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}),
        }
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)) as connection:
            connection.request(method, path, body=body, headers={**sent, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def page(self, path, **how):
        status, _, body = self.request(path, **how)
        return status, body.decode()

    def post(self, path, form, **how):
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', self.page(how.pop("page", "/models/TOY"))[1])
        return self.request(path, method="POST", form={"csrf": csrf[1] if csrf else "", **form}, **how)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.stderr.close()


@pytest.fixture
def start():
    """Return a function that starts `mlops ui`; every server is ended after the test, with exit code 0."""
    servers = []

    def begin(workspace, *arguments, **how):
        servers.append(Ui(workspace, *arguments, **how))
        return servers[-1]

    yield begin
    assert [server.stop() for server in servers] == [0] * len(servers)


def wait_for(look, what):
    """Return the first true value of a function."""
    end = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
    return found

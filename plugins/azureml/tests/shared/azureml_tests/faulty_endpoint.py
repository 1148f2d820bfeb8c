"""An endpoint that injects faults into its answers, and records all requests."""

import time
from dataclasses import dataclass

from mlops_azureml.emulator.server import AzureMlEndpoint
from mlops_azureml.emulator.web.errors import CallError
from mlops_azureml.emulator.web.http import Response

ALWAYS = 10**9


@dataclass
class Fault:
    """A fault for requests with a method and a text in their path, and how often it is injected."""

    method: str
    text: str
    kind: str  # a status, "drop" (no response) or "slow"
    times: int = ALWAYS
    after: int = 0  # number of matching requests that pass first
    code: str = "Injected"
    message: str = "injected by the test"
    retry_after: str = ""
    is_done: bool = False  # the request is carried out, and only its answer is lost


class FaultyEndpoint(AzureMlEndpoint):
    """Serves like its base, but for `faults`."""

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self.faults, self.seen = [], []
        self.answers = {}

    def answer(self, request):
        self.seen.append((request.method, request.path))
        own = self.answers.get(request.path)
        if own:
            return Response.of_json(own(request))
        fault = self._fault_for(request)
        if fault is None:
            return super().answer(request)
        if fault.is_done:
            super().answer(request)
        if fault.kind == "slow":
            time.sleep(0.3)
            return super().answer(request)
        if fault.kind == "drop":
            raise ConnectionResetError
        if fault.retry_after:
            error = {"error": {"code": fault.code, "message": fault.message}}
            response = Response.of_json(error, status=int(fault.kind))
            return Response(
                status=response.status, content=response.content, headers={"Retry-After": fault.retry_after}
            )
        raise CallError(int(fault.kind), fault.code, fault.message)

    def wait_for(self, job, timeout_s=120):
        """Return the status with which a job ended."""
        deadline = time.monotonic() + timeout_s
        while (status := self.state.runs[job].status) not in ("Completed", "Failed", "Canceled"):
            assert time.monotonic() < deadline, f"job {job} is {status}"
            time.sleep(0.05)
        return status

    def _fault_for(self, request):
        for fault in self.faults:
            if fault.method in ("*", request.method) and fault.text in request.path and fault.times > 0:
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def count(self, method, text=""):
        return sum(seen[0] == method and text in seen[1] for seen in self.seen)

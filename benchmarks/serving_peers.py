"""The same model behind other servers, and without any: ``python serving_peers.py PEER MODEL PORT``.

Peers get the sound as base64 in JSON, which is what they take. Each has two workers.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKERS = 2

try:  # its workers import this module again, so the class must be found in it
    import litserve
except ImportError:
    litserve = None


class Sounds:
    """Predicts a sound from its base64 text, through a file in memory as `mlops serve` does."""

    def __init__(self, model: str) -> None:
        from mlops_aed.predictor import AedPredictor

        self._predictor = AedPredictor(Path(model))
        self._path = Path(tempfile.mkdtemp(dir="/dev/shm")) / "body.wav"

    def predict(self, text: str) -> dict[str, float]:
        self._path.write_bytes(base64.b64decode(text))
        (answer,) = self._predictor.predict([self._path])
        return dict(zip(self._predictor.classes, answer.scores, strict=True))


class SoundApi(litserve.LitAPI if litserve else object):
    model = ""

    def setup(self, device: Any) -> None:  # noqa: ARG002
        self.sounds = Sounds(self.model)

    def decode_request(self, request) -> Any:  # noqa: ANN001  the type would be one of FastAPI
        return request["audio"]

    def predict(self, text: Any) -> Any:
        return self.sounds.predict(text)

    def encode_response(self, output: Any) -> Any:
        return {"scores": output}


def serve_litserve(model: str, port: int) -> None:
    api = SoundApi()
    api.model = model
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, timeout=60)
    server.run(port=port, host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="warning")


def serve_bentoml(model: str, port: int) -> None:
    service = Path(tempfile.mkdtemp()) / "service.py"
    service.write_text(
        "import os, sys\nsys.path.insert(0, os.environ['PEERS_FOLDER'])\nimport bentoml\nimport serving_peers\n\n"
        f"@bentoml.service(workers={WORKERS}, traffic={{'timeout': 60}})\nclass Peer:\n"
        f"    def __init__(self):\n        self.sounds = serving_peers.Sounds({model!r})\n\n"
        "    @bentoml.api\n    def invocations(self, audio: str) -> dict:\n        return self.sounds.predict(audio)\n"
    )
    environ = {**os.environ, "PEERS_FOLDER": str(Path(__file__).parent), "DO_NOT_TRACK": "1"}
    os.chdir(service.parent)
    program = str(Path(sys.executable).with_name("bentoml"))
    os.execve(program, [program, "serve", "service:Peer", "--host", "127.0.0.1", "--port", str(port)], environ)


def serve_mlflow(model: str, port: int) -> None:
    import mlflow

    class Model(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:  # noqa: ARG002
            self.sounds = Sounds(model)

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
            texts = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else list(model_input)
            return [self.sounds.predict(text) for text in texts]

    folder = Path(tempfile.mkdtemp()) / "model"
    mlflow.pyfunc.save_model(str(folder), python_model=Model())
    program = str(Path(sys.executable).with_name("mlflow"))
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = ["models", "serve", "-m", str(folder), "-p", str(port), "-h", "127.0.0.1", "--env-manager", "local"]
    os.execve(program, [program, *arguments, "--workers", str(WORKERS)], environ)


def compute(model: str, seconds: int) -> None:
    """Predict one file again and again, without HTTP; print their number and the processor time."""
    sound = Path(os.environ["BENCH_SOUND"])
    from mlops_aed.predictor import AedPredictor

    predictor = AedPredictor(Path(model))
    predictor.warm_up()
    print("ready", flush=True)
    sys.stdin.readline()
    count, end, before = 0, time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        list(predictor.predict([sound]))
        count += 1
    print(count, time.process_time() - before, flush=True)


PEERS = {"litserve": serve_litserve, "bentoml": serve_bentoml, "mlflow": serve_mlflow, "bare": compute}

if __name__ == "__main__":
    name, folder, number = sys.argv[1:]
    PEERS[name](folder, int(number))

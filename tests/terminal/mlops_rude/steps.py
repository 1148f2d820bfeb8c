import os
import sys
import time

from mlops_toy import steps as toy

from mlops_rude import EVIL, TEXT
from mlops_rude.plugin import Rude

NAME = TEXT.replace("\n", " ")


def generate(folder, *, seed, progress):
    toy.generate(folder, seed=seed, progress=progress)
    (folder / NAME).write_text("x")
    progress(EVIL, 1, 2)


def train(context):
    context.log.warning("careful: %s", EVIL)
    os.write(1, EVIL.encode(errors="surrogateescape") + b"\xff\x1b[31m\n")
    context.progress(NAME, 1, 2)
    time.sleep(0.2)
    sys.stdout.flush()
    if context.section("rude", Rude).mode == "fail":
        raise ValueError(EVIL)
    toy.train(context)

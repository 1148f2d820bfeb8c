import sys
import time

from mlops_toy import steps as toy

from mlops_leaky.plugin import Access


def train(context):
    access = context.section("access", Access)
    values = (access.header, access.database, access.api_token, access.repository, access.presigned, *access.several)
    for value in values:
        context.log.warning("connecting with %s", value)
        sys.stdout.write(value)
        sys.stdout.flush()
        context.progress(f"as {value}", 1, 2)
    if access.mode == "fail":
        raise ConnectionError(f"refused: {values}")
    if access.mode == "wait":
        time.sleep(60)
    toy.train(context)

"""Deploying: what is checked, asked of the engine and written down, in which order; the same for every engine.

A deployment is planned in the ledger, begun at the engine, and followed until the engine has decided. It has succeeded
if the endpoint is in service *and* answers with our configuration: one that was rolled back is in service, too. Each
step can be repeated, so `deploy` resumes where a process was killed.

`deployer` has the commands. `admission` checks what may go where, `following` carries a deployment out, `rollback` goes
back.
"""

from mlops_core.deployments.driver.deployer import Deployer
from mlops_core.deployments.driver.requests import DeploymentOutcome, DeploymentRequest

__all__ = ["Deployer", "DeploymentOutcome", "DeploymentRequest"]

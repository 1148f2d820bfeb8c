"""Deployments to real-time endpoints: the target of `mlops deploy --runner sagemaker`.

* `target`: what core asks for; `states`: what the service says about an endpoint.
* `versions`: model packages as model versions; `requests`: what is asked of the service for a plan.
* `faults`: what hinders a deployment; `watching`: alarms, and requests that are sent while a model has a part of the
  traffic.
"""

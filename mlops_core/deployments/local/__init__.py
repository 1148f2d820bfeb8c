"""Endpoints on this machine: supervised servers behind a router that keeps its port.

* `state`: the folder of an endpoint, its state and the orders to it: files, so that any process can be killed.
* `target`: what `mlops deploy --runner local` uses; it starts the process of an endpoint, and gives it orders.

The process itself is `mlops_core.serving.endpoint`.
"""

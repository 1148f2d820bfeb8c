"""Drift without a server: captured requests in the order of their time, and simulated drift.

* `references`: the reference of a model, and the features of captured requests.
* `captures`: reading captured requests; `checking`: running them through a monitor.
* `simulation`: delays until an alarm for drift of several kinds.
"""

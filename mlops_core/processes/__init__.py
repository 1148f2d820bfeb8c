"""Processes forked from a warm interpreter, each limited, supervised and ended together with its descendants.

The runner of this machine executes steps in them, the contract kit a plugin's code. `ProcessPool` is the driver's
side; a call is an `Order`, and its end a `Report`.
"""

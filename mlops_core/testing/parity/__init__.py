"""Parity for authors of runner plugins: what an engine executed against a run on this machine.

`proof` compares both sides of one run. `scenarios` makes the runs that are worth comparing, of every installed use
case: accepted, rejected, retried and failing ones.
"""

"""Observing plugin code: executions step by step, what they touched, and what differs between two folders."""

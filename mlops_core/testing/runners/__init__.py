"""Installed runners, and the contract kit for them."""

"""Keeping a workspace sound: what is wrong with it, repairing it, and removing what nobody needs."""

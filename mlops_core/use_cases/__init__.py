"""Use cases: which are installed, and the façade over pluggy.

`manager` loads a use case and has `UseCase`, by which core calls its hooks; `registration` imports the plugin and
checks it against the contract.
"""

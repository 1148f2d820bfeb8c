"""Everything that needs a plugin's code, in a process of its own: the code may take long, print, crash or hang.

* `questions`: asks, with a time limit, and keeps the answers.
* `child`: the process that answers.
"""

"""Lets the clock of every process that has this folder on its path jump by two hours with each look at it."""

import itertools
import time

_real, _jumps = time.time, itertools.cycle((3600, -3600))
time.time = lambda: _real() + next(_jumps)

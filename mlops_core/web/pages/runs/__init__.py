"""The pages of runs: the list, one run, its logs, comparisons and searches."""

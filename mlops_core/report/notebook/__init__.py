"""What a notebook shows of runs: the output of a cell in HTML, the record of a run, all runs as a data frame."""

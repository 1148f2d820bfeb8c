"""What core does in the steps of a hyperparameter search: draw a trial's values, judge it, select the best one."""

"""A sound small use case, of which the zoo makes hostile ones by breaking one rule each."""

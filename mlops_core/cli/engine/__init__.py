"""Commands for engines: compile, compare, package, deliver."""

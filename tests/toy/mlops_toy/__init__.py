"""The smallest whole use case: guess from the length of a word whether it is long."""

"""What the tests of the engines share: each engine makes the same promises about the same runs."""

"""The toy use case whose every text holds control characters."""

EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202eb\rc\x08\x7f\u2028\udcff\U000e0041d\nmlops: error: forged"
"""Title, clear screen, C1, right-to-left override, carriage return, backspace, DEL, surrogate, tag, a forged line."""
TEXT = EVIL.replace("\udcff", "")
"""The same as text that can be encoded."""

"""One run as a self-contained HTML page, and two runs side by side."""

"""Steps: what one may see, the one function that executes it anywhere, and the key under which it is reused."""

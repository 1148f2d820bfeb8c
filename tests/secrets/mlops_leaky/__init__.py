"""The toy use case with secrets in its configuration, and code that repeats them wherever it can."""

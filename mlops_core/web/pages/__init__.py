"""The pages: each function takes a `View` and returns an `PageAnswer`."""

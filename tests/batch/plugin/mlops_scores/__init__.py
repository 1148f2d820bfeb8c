"""The use case SCORES."""

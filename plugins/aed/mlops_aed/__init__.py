"""Audio event detection: which of a few sounds is in a clip, by a network small enough for a microcontroller."""

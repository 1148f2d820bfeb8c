"""Audio event detection: classifies the sound in a clip with a network small enough for a microcontroller."""

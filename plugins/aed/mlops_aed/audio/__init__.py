"""Sound: decoding, features, streams, events in recordings, pictures."""

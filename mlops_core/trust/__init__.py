"""What makes a verdict checkable later: evidence bundles, reproductions, model cards, replays of gates."""

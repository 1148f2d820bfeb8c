"""A use case with everything that a report can show: malicious names, previews of each kind, curves, parallel steps."""

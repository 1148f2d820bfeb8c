"""A use case with everything that a report can show: hostile names, previews of each kind, curves, parallel steps."""

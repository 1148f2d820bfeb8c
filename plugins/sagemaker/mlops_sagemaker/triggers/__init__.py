"""Event rules that start runs: patterns, `triggers.yaml`, lint, generation of resources, simulation."""

"""What is installed: distributions and the plugins that they provide, read from metadata without importing anything."""

"""The comparison of two stored runs in full: data, code, paired tests, and samples that changed sides."""

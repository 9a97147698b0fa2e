"""Find and load plugins, read sampler expressions, and open models by name."""

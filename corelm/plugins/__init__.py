"""Find plugins, read sampler expressions, and check chains for likely mistakes."""

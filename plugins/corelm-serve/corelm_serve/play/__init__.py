"""A live page that shows how a sampler reshapes the next word: its data, and its files."""

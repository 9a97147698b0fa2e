"""Write texts: prompts, ancestral sampling, the conditions that end a text, and its record."""

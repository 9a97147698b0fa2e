"""Words as tokens: their names, their texts, and the tokens of a context."""

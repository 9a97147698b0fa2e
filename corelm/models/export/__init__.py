"""corelm's models in the formats of other engines."""

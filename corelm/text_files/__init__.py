"""Files of many texts: written in order, whole or not at all, continued where they stopped."""

"""The arithmetic of next-token distributions: definitions that are short and checkable by eye."""

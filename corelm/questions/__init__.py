"""Questions about one token, one text, one chain: why, how surprising, how different."""

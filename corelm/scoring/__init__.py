"""The command `corelm score`: the surprisal of given texts."""

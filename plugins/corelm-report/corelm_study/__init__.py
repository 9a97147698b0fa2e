"""Studies: reports on several models, described in a file and repeatable from it."""

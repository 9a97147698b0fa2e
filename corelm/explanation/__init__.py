"""Explain one next token: what each stage of a sampler does to its distribution."""

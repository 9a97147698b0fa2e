"""The contracts: what a plugin implements, what it gets, and the stages that run a sampler."""

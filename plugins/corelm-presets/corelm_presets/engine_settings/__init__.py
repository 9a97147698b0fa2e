"""The sampler settings of other engines, read as chains and written from chains."""

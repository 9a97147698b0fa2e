"""Train a network with Keras. The settings are read without it; `run` imports it."""

"""The parts of a decoding loop: random numbers, the growing context, the decoding state."""

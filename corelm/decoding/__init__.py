"""The parts of a decoding loop: random numbers, the plan of the draws, the decoding state."""

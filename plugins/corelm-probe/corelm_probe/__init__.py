"""Find out which distribution an inference engine really draws from."""

"""corelm's own networks in NumPy and the kernels."""

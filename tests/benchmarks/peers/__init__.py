"""The programs compared: each has its own module here, and runs in its own process."""

"""Those that write texts side by side: each in a file of its own, run in a process of its own."""

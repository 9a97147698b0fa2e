"""For authors of plugins: `corelm plugins` lists and checks them, and creates a new one."""

"""The built-in samplers, one file each. They reach the core through pluggy, as any plugin's do."""

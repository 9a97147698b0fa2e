"""The built-in samplers, one file each. They reach the core through pluggy, like any plugin's."""

"""The samplers of a stranger: each module is one."""

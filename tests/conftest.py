"""The surroundings and fixtures of all tests; the tests of packages have them from `plugins`."""

pytest_plugins = ["surroundings", "command_line", "browsers", "killing"]

"""The plan of a report: what is measured, from the settings that were given."""

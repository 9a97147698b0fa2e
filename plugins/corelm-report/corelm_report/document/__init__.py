"""The document of a report: its schema, and every reader that needs nothing but the document."""

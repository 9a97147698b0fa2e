"""Text that people read: tables, printable characters, and the lines of files."""

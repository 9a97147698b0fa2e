"""The forms of a report: text, Markdown, CSV, a web page and plots, all made from its document."""

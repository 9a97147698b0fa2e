"""The measurements of a report: from a model and samplers to a document."""

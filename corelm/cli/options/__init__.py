"""Arguments and options: from declared parameters to the command line and back."""

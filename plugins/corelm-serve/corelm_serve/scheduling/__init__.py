"""The threads that own the models.

jobs       one prompt of a request: what to write, and who hears of it
reading    a prompt that is read in pieces
writing    the texts of a job, one step at a time
lane       a thread that advances its jobs in turn
scheduler  the lanes of a model, the queue before them, limits and the end
"""

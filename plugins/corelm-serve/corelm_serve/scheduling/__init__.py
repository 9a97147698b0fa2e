"""The threads that own the models.

jobs       one prompt of a request: what to write, and where its events go
writing    the texts of a job, and what is new in each
lane       a thread that advances its jobs in rounds
scheduler  the lanes of a model, the queue before them, limits and the end
"""

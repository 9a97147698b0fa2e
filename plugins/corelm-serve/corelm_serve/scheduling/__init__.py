"""The threads that own the models.

jobs       one prompt of a request: what to write, its texts, and where its events go
scheduler  the lanes of a model, the queue before them, limits and the end
"""

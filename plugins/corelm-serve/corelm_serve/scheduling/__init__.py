"""The threads that own the models.

jobs       one prompt of a request: what to write, its texts, and where its events go
lanes      threads that advance jobs together
scheduler  the queues before the lanes, limits, how requests share rows, and the end
"""

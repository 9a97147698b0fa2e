"""An OpenAI-compatible server for corelm's models.

server        the application and its connections
security      who may call: Host, Origin, token
endpoints     one function for each route, and the table of routes
requests/     strict reading of a request
prepare       a request as jobs
scheduling/   the threads that own the models: jobs in, texts out
answers       the JSON of an answer, whole or in chunks
responses     events from those threads, and an answer's bytes, written in turns
"""

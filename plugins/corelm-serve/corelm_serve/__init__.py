"""An OpenAI-compatible server for corelm's models.

security      who may call: Host, Origin, token
endpoints     one function for each route
requests/     strict reading of a request into jobs
scheduling/   the threads that own the models: jobs in, texts out
answers       the JSON of an answer, whole or in events
"""

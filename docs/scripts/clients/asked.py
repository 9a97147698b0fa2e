"""The requests that each client makes, and the form in which a client's program answers."""

import asyncio
import inspect
import json
import os

URL, KEY, MODEL = os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"], "chat"
PROMPT, SEED, LENGTH = "The film was", 1, 100
TEMPERATURE = 0.7
MESSAGES = [{"role": "user", "content": PROMPT}]
SAMPLER = {"sampler": "min_p(p=0.05) | temperature(t=0.8)"}
SCHEMA = {
    "type": "object",
    "title": "film",
    "description": "A film",
    "properties": {"stars": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["stars"],
    "additionalProperties": False,
}
FUNCTION = {"name": "rate", "description": "Rate a film", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}
FORM = {"type": "json_schema", "json_schema": {"name": "film", "schema": SCHEMA, "strict": True}}


def tried(*tasks):
    """Run each task and print its answer, or its error, as a line of JSON."""
    for task in tasks:
        try:
            answer = task()
            answer = asyncio.run(answer) if inspect.isawaitable(answer) else answer
            line = {"task": task.__name__, "answer": answer}
        except Exception as error:
            line = {"task": task.__name__, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(line), flush=True)

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


def tasks_of_chat(create):
    """Return the tasks of a client whose chats are answered with OpenAI's objects.

    Args:
        create: asks for an answer to `MESSAGES`; a field that is None is left out.
    """

    def chat():
        return create().choices[0].message.content

    def stream():
        return "".join(event.choices[0].delta.content or "" for event in create(stream=True))

    def tools():
        message = create(tools=[TOOL], tool_choice="required").choices[0].message
        return json.loads(message.tool_calls[0].function.arguments)

    def response_format():
        return json.loads(create(response_format=FORM).choices[0].message.content)

    def sampler():
        return create(temperature=None, extra_body=SAMPLER).choices[0].message.content

    return chat, stream, tools, response_format, sampler

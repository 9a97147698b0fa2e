"""Ask with OpenAI's client for Python."""

import json

from asked import (
    FORM,
    KEY,
    LENGTH,
    MESSAGES,
    MODEL,
    PROMPT,
    SAMPLER,
    SEED,
    TEMPERATURE,
    TOOL,
    URL,
    tried,
)
from openai import OpenAI

client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)
asked = {"model": MODEL, "seed": SEED, "max_tokens": LENGTH, "temperature": TEMPERATURE}


def create(**more):
    return client.chat.completions.create(messages=MESSAGES, **asked, **more)


def completion():
    return client.completions.create(prompt=PROMPT, **asked).choices[0].text


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
    fields = {name: value for name, value in asked.items() if name != "temperature"}
    answer = client.chat.completions.create(messages=MESSAGES, **fields, extra_body=SAMPLER)
    return answer.choices[0].message.content


tried(completion, chat, stream, tools, response_format, sampler)

"""Ask with OpenAI's client for Python."""

from asked import (
    KEY,
    LENGTH,
    MESSAGES,
    MODEL,
    PROMPT,
    SEED,
    TEMPERATURE,
    URL,
    tasks_of_chat,
    tried,
)
from openai import OpenAI

client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)
asked = {"model": MODEL, "seed": SEED, "max_tokens": LENGTH, "temperature": TEMPERATURE}


def create(**more):
    fields = {name: value for name, value in {**asked, **more}.items() if value is not None}
    return client.chat.completions.create(messages=MESSAGES, **fields)


def completion():
    return client.completions.create(prompt=PROMPT, **asked).choices[0].text


tried(completion, *tasks_of_chat(create))

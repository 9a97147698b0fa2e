"""Ask with litellm."""

import json

import litellm
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

fields = {"seed": SEED, "max_tokens": LENGTH, "api_base": URL, "api_key": KEY}
asked = {**fields, "temperature": TEMPERATURE}


def create(**more):
    return litellm.completion(model=f"openai/{MODEL}", messages=MESSAGES, **{**asked, **more})


def completion():
    named = f"text-completion-openai/{MODEL}"
    return litellm.text_completion(model=named, prompt=PROMPT, **asked).choices[0].text


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


tried(completion, chat, stream, tools, response_format, sampler)

"""Ask with Instructor, whose answers are all structured."""

import instructor
from asked import KEY, LENGTH, MESSAGES, MODEL, SAMPLER, SEED, TEMPERATURE, URL, tried
from openai import OpenAI
from pydantic import BaseModel, ConfigDict, Field

fields = {"model": MODEL, "seed": SEED, "max_tokens": LENGTH, "messages": MESSAGES}
asked = {**fields, "temperature": TEMPERATURE, "max_retries": 0}


class Film(BaseModel):
    """A film."""

    model_config = ConfigDict(extra="forbid")
    stars: int = Field(ge=1, le=5)


def client(mode):
    return instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)


def tools():
    return client(instructor.Mode.TOOLS).create(response_model=Film, **asked).model_dump()


def response_format():
    return client(instructor.Mode.JSON_SCHEMA).create(response_model=Film, **asked).model_dump()


def stream():
    parts = client(instructor.Mode.TOOLS).create_partial(response_model=Film, **asked)
    return [*parts][-1].model_dump()


def sampler():
    answer = client(instructor.Mode.TOOLS).create(response_model=None, **fields, extra_body=SAMPLER)
    return answer.choices[0].message.content


tried(stream, tools, response_format, sampler)

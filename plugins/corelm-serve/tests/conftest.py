"""A server in this process, and clients of it."""

import contextlib

import pytest

pytest.importorskip("corelm_serve", reason="pip install ./plugins/corelm-serve")
pytest.importorskip("httpx2", reason="pip install httpx2")

from corelm_serve.app import create_app
from corelm_serve.security import Access
from corelm_serve.service import Service
from serve_client import URL, Client, ToyModel


@pytest.fixture
def open_client():
    """Return a function that opens a client of a server with these models and limits."""
    with contextlib.ExitStack() as stack:

        def opened(models=None, limits=None, token=None, **options):
            service = Service(models or {"toy": ToyModel()}, limits, **options)
            access = Access.to("127.0.0.1", 8000, token)
            return stack.enter_context(Client(create_app(service, access), URL, service))

        yield opened


@pytest.fixture
def client(open_client):
    return open_client()

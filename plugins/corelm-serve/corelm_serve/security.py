"""Access: the Host, the Origin and the token of each request are checked before anything."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corelm.errors import UsageError
from corelm.runs import printable
from corelm_serve.errors import ApiError
from corelm_serve.requests.completion import new_id
from corelm_serve.responses import error_response

if TYPE_CHECKING:
    from corelm_serve.play.classroom import Classroom

HEADERS = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }.items()
)
"""The headers of every response, which sets none of them itself."""
REFUSAL = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>corelm play was started again</title>
<h1>Open the new address</h1>
<p>This address belongs to an earlier start of <code>corelm play</code>. Open the address that the
command printed when it started last. To keep your text, copy what comes after the <code>#</code> in
this address to the end of the new one, in place of what comes after its <code>#</code>.</p>
</html>
"""
JOIN = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Join corelm play</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/play/shared.css">
<main><h1>Join the class</h1>
<form action="/join"><label>Code <input name="code" type="search" autocomplete="off"
autocapitalize="characters" maxlength="12" autofocus></label> <button>Join</button></form>
<p role="alert">{}</p></main></html>
"""
STAINLESS = tuple(f"x-stainless-{name}" for name in (
    "arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version",
    "poll-helper", "retry-count", "runtime", "runtime-version", "timeout",
))  # fmt: skip
"""The headers that OpenAI's client adds in a browser."""
JOINING, STYLE = "/join", "/play/shared.css"
STUDENT = "corelm_student"
"""The key of a request's scope that says that a student makes it."""
CLIENT = "corelm_client"
"""The key of a request's scope that says which of several tokens it has."""
OF_STUDENTS = frozenset(
    {("GET", path) for path in ("/play", "/api/samplers", "/v1/models", "/api/class")}
    | {("POST", f"/api/{name}") for name in ("next", "tree", "write", "picture")}
    | {("POST", "/tokenize")}
)
"""The requests that the live page makes."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGES = ("/", "/play")
"""The pages whose URL may have the token."""
REQUEST_ID = "x-request-id"
"""The header that names a request in its answer and in the log, and the key of its scope."""
OPEN = ("/health",)
"""The paths that need no token."""


def is_secret(text: str, secret: str) -> bool:
    """Compare a client's text with a secret, in a time that tells nothing about either."""
    return secrets.compare_digest(text.encode("utf-8", "surrogateescape"), secret.encode())


@dataclass(frozen=True)
class Access:
    """The rules of access.

    Attributes:
        hosts: the values of the Host header, each whole: name and port.
        port: the port.
        any_address: also take any IP address with the port, as where the server listens on all. A
            name that points here by DNS rebinding is no address.
        tokens: any of them admits; none for no check.
        origins: other origins whose pages may ask, each whole.
        at_proxy: the values of the Host header that a proxy in front passes on.
        classroom: lets students use the live page; None for no class.
    """

    hosts: frozenset[str]
    port: int
    any_address: bool = False
    tokens: tuple[str, ...] = ()
    origins: frozenset[str] = frozenset()
    at_proxy: frozenset[str] = frozenset()
    classroom: Classroom | None = None

    @classmethod
    def to(
        cls,
        host: str,
        port: int,
        tokens: Iterable[str] = (),
        names: Iterable[str] = (),
        origins: Iterable[str] = (),
    ) -> Access:
        """Return the access to a server that listens on a host and a port.

        Args:
            host: the address or name.
            port: the port.
            tokens: any of them admits; none for no check.
            names: more names of the machine, or of a proxy in front of it.
            origins: other origins whose pages may ask, such as `https://example.org`.

        Raises:
            UsageError: something else than an origin.
        """
        own = {host, *names, *(LOOPBACK if is_loopback(host) or is_any(host) else ())}
        hosts = {f"{_bracketed(name)}:{port}" for name in own if not is_any(name)}
        if port == 80:  # clients leave it out
            hosts |= {_bracketed(name) for name in own}
        # A proxy has the ports of http and https, and passes on the name that it got.
        at_proxy = {f"{_bracketed(name)}{port}" for name in names for port in ("", ":80", ":443")}
        pages = frozenset(map(origin_of, origins))
        return cls(frozenset(hosts), port, is_any(host), tuple(tokens), pages, frozenset(at_proxy))

    @property
    def cookie(self) -> str:
        """The name of the cookie; cookies of all ports of a machine are sent to each."""
        return f"corelm_{self.port}"

    def check_host(self, headers: Headers) -> str:
        """Return the Host header.

        Raises:
            ApiError: it isn't one of this server's, or there are several.
        """
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        if host in self.hosts | self.at_proxy or (
            self.any_address and _is_address(host, self.port)
        ):
            return host
        message = "the Host header is not this server's; see --allow-host"
        raise ApiError(message, 421, code="wrong_host")

    def check_origin(self, headers: Headers, host: str) -> None:
        """Raise if a page of another origin asks."""
        own = {f"http://{host}"}
        if host in self.at_proxy:
            own |= {f"https://{host.removesuffix(':443')}", f"http://{host.removesuffix(':80')}"}
        for origin in headers.getlist("origin"):
            if origin.lower() not in own | self.origins:
                message = "pages of other origins may not use this server; see --allow-origin"
                raise ApiError(message, 403, code="wrong_origin")

    def is_token(self, text: str) -> bool:
        """Return True if a text is one of the tokens."""
        return any(is_secret(text, token) for token in self.tokens)

    def check_token(self, request: HTTPConnection) -> None:
        """Raise if a request has neither a token nor its cookie, and note whose request it is."""
        if not self.tokens:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        for text in (bearer, request.cookies.get(self.cookie, "")):
            if self.is_token(text):
                if len(self.tokens) > 1:
                    request.scope[CLIENT] = text
                return
        message = "the token is missing or wrong; the server printed it when it started"
        headers_ = {"WWW-Authenticate": "Bearer"}
        raise ApiError(message, 401, code="invalid_api_key", headers=headers_)


class Guard:
    """The outermost application: refuses strangers, and adds headers to every response.

    Args:
        app: the application inside.
        access: who may call.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        # Around the check of the token: a browser's preflight has none, and its page reads errors.
        self._shared = CORSMiddleware(
            self._admit,
            allow_origins=access.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", REQUEST_ID, *STAINLESS),
            expose_headers=("Retry-After", REQUEST_ID),
            allow_private_network=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        # A proxy's form of the target: h11 leaves the scheme and the host in the path.
        scope["path"] = re.sub("^https?://[^/]*", "", scope["path"], flags=re.I) or "/"
        asked = Headers(scope=scope).get(REQUEST_ID, "")
        scope[REQUEST_ID] = asked if re.fullmatch("[!-~]{1,128}", asked) else new_id()
        id_ = (REQUEST_ID.encode(), scope[REQUEST_ID].encode())

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS, id_]
            await send(message)

        try:
            headers = Headers(scope=scope)
            # A proxy in front may read the other length, and take the rest for a request.
            if "content-length" in headers and "transfer-encoding" in headers:
                message = "a body has a Content-Length or is chunked, not both"
                raise ApiError(message, code="two_lengths", headers={"Connection": "close"})
            self._access.check_origin(headers, self._access.check_host(headers))
            answer = self._shared if self._access.origins else self._admit
        except ApiError as error:
            answer = error_response(error)
        await answer(scope, receive, with_headers)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that comes from a page that may ask, or from no page."""
        try:
            answer = self._check(scope)
        except ApiError as error:
            # A browser asks for the live page without the token, as after a restart.
            accepted = Headers(scope=scope).get("accept", "") if scope["path"] == "/play" else ""
            is_page = error.status == 401 and "text/html" in accepted
            challenge = {"WWW-Authenticate": "Bearer"}
            answer = HTMLResponse(REFUSAL, 401, challenge) if is_page else error_response(error)
        await (answer or self._app)(scope, receive, send)

    def _check(self, scope: Scope) -> ASGIApp | None:
        """Return a response that ends the request; None if it may go on."""
        request = HTTPConnection(scope)
        if scope["path"] in OPEN:
            return None
        if scope["path"] in PAGES and (token := request.query_params.get("token")):
            return self._exchange(request, token)
        if self._access.classroom is None:
            self._access.check_token(request)
            return None
        return self._check_in_class(scope, request, self._access.classroom)

    def _check_in_class(
        self, scope: Scope, request: HTTPConnection, classroom: Classroom
    ) -> ASGIApp | None:
        """Admit the teacher to everything, and students to the live page."""
        if scope["path"] == JOINING:
            return self._join(request, classroom)
        if scope["path"] == STYLE:
            return None
        try:
            self._access.check_token(request)
        except ApiError:
            if not classroom.is_student(request.cookies.get(self._class_cookie, "")):
                if scope["path"] == "/play":
                    return RedirectResponse(JOINING, 303)
                raise
            scope[STUDENT] = True
            method, path = scope["method"], scope["path"]
            is_file = method in ("GET", "HEAD") and path.startswith("/play/")
            if (method, path) not in OF_STUDENTS and not is_file:
                message = "students use the live page alone"
                raise ApiError(message, 403, code="not_for_students") from None
        return None

    @property
    def _class_cookie(self) -> str:
        return f"{self._access.cookie}_class"

    def _join(self, request: HTTPConnection, classroom: Classroom) -> ASGIApp:
        """Exchange the class code for a session cookie."""
        code = request.query_params.get("code")
        if not code:
            return HTMLResponse(JOIN.format(""))
        token = classroom.join(code, request.client.host if request.client else "")
        if token is None:
            return HTMLResponse(JOIN.format("That is not the code on the wall."), 403)
        response = RedirectResponse("/play", 303)
        # Lax: a link on another site, such as a course's page, leads here and on to the live page.
        response.set_cookie(self._class_cookie, token, httponly=True, samesite="lax")
        return response

    def _exchange(self, request: HTTPConnection, token: str) -> ASGIApp:
        """Exchange the token in the URL for a cookie; the redirect leaves it out."""
        response, is_secure = RedirectResponse(request.scope["path"], 303), request.url.is_secure
        if self._access.is_token(token):
            response.set_cookie(
                self._access.cookie, token, httponly=True, samesite="strict", secure=is_secure
            )
        return response


def origin_of(text: str) -> str:
    """Return an origin as browsers write it: scheme, name and port.

    Raises:
        UsageError: something else, such as `*`.
    """
    if text in ("*", "null"):
        reason = "any page" if text == "*" else "every file, and frames of any page"
        raise UsageError(f"--allow-origin {text} would be {reason}; name each origin")
    match = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/?", text.lower())
    if match is None:
        message = f"--allow-origin must be such as https://example.org, not {printable.shown(text)}"
        raise UsageError(message)
    scheme, host, port = match.groups()
    is_default = port in (None, ":80" if scheme == "http" else ":443")
    return f"{scheme}://{host}" + ("" if is_default else port)


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine alone."""
    address = _parsed(host)
    return host in LOOPBACK or (address is not None and address.is_loopback)


def is_any(host: str) -> bool:
    """Return True for the address that means all of a machine's."""
    address = _parsed(host)
    return address is not None and address.is_unspecified


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _is_address(host: str, port: int) -> bool:
    """Return True if a Host header is an IP address and a port."""
    name, _, last = host.rpartition(":") if port != 80 or "]:" in host else (host, "", "80")
    return last == str(port) and _parsed(name.strip("[]")) is not None

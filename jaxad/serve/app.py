"""The routes of the service."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from jaxad.serve import metrics, openapi, page
from jaxad.serve.answers import Answer, included
from jaxad.serve.asking import parameters, png, wants_png, while_there
from jaxad.serve.auth import Gate
from jaxad.serve.bodies import Body, Upload, received
from jaxad.serve.door import Door
from jaxad.serve.failures import Refused
from jaxad.serve.judging import Wanted
from jaxad.serve.sending import Piecewise
from jaxad.serve.service import Service

Handler = Callable[[Request], Awaitable[Response]]
OPEN = ("/healthz", "/readyz")


class Routes:
    """What is answered under each path.

    Args:
      service: that answers.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._description = openapi.description(service)

    def table(self) -> dict[str, tuple[str, Handler]]:
        """Method and function of each path, the page's files apart."""
        return {
            "/v1/predict": ("POST", self.predict),
            "/v1/models": ("GET", self.models),
            "/v1/card": ("GET", self.card),
            "/healthz": ("GET", self.healthz),
            "/readyz": ("GET", self.readyz),
            "/metrics": ("GET", self.metrics),
            "/openapi.json": ("GET", self.openapi),
        }

    async def predict(self, request: Request) -> Response:
        """Pictures in, decisions out."""
        service, about = self._service, request.state.about
        service.check_open()
        given = parameters(request, ("model", "category", "include"))
        model = service.model(given.get("model"))
        about["model"] = model.name
        as_png = wants_png(request)
        include = included(given.get("include"))
        if as_png and include:
            raise Refused(400, "bad_request", "include belongs to JSON, not to Accept: image/png")
        wanted = Wanted(model, model.of(given.get("category")), include, as_png)
        held = contextlib.AsyncExitStack()  # until the answer is sent
        service.active += 1
        held.callback(service.left)
        try:
            async with received(request, service.limits, service.bytes) as body:
                about["bytes"] = len(body.content)
                answering = self._answered(request, body, wanted, held)
                return Piecewise(await while_there(request, answering), held)
        except BaseException as error:
            await held.aclose()
            if not isinstance(error, ClientDisconnect):
                raise
            about["error"] = "client_gone"
            return Response(status_code=499)  # nobody reads it

    async def _answered(
        self, request: Request, body: Body, wanted: Wanted, held: contextlib.AsyncExitStack
    ) -> Response:
        service = self._service
        uploads = [Upload("", body.content, body.type.partition(";")[0].strip().lower())]
        if body.is_form:
            uploads = await service.form(body.content, body.type)
        if wanted.as_png and len(uploads) > 1:
            raise Refused(406, "not_acceptable", "Accept: image/png is for one picture at a time")
        request.state.about["pictures"] = len(uploads)
        found = await service.answered(uploads, wanted, held)
        first = found[0]
        if isinstance(first, Refused) and (wanted.as_png or not body.is_form):
            raise first
        if wanted.as_png:
            assert isinstance(first, Answer)
            return png(first)
        return await self._json(uploads, found, wanted)

    async def _json(
        self, uploads: list[Upload], found: "list[Answer | Refused]", wanted: Wanted
    ) -> Response:
        rows = []
        for upload, one in zip(uploads, found, strict=True):
            said = one.as_dict() if isinstance(one, Refused) else one.row
            rows.append({"name": upload.name, **said})
        card = wanted.predictor.card
        category = wanted.predictor.category or next(iter(card.normals))
        score, pixel = card.thresholds(category)
        body: dict[str, Any] = {
            "model": wanted.model.name,
            "category": category,
            "threshold": score,
            "pixel_threshold": pixel,
            "pictures": rows,
        }
        usable = any(isinstance(one, Answer) for one in found)
        if not usable:
            none = Refused(422, "no_picture", f"none of {len(found)} pictures can be answered")
            body |= none.as_dict()
        status = 200 if usable else max(one.status for one in found if isinstance(one, Refused))
        content = await self._service.written(body)
        return Response(content, status, media_type="application/json")

    async def models(self, request: Request) -> Response:
        """Which models there are, and which are ready."""
        parameters(request, ())
        service = self._service
        rows = [
            {"name": name, "ready": name in service.models}
            | (service.models[name].described() if name in service.models else {})
            for name in service.names
        ]
        limits = {n: getattr(service.limits, n) for n in ("max_bytes", "max_pictures")}
        return JSONResponse({"models": rows, "limits": limits})

    async def card(self, request: Request) -> Response:
        """A model's decision card."""
        model = self._service.model(parameters(request, ("model",)).get("model"))
        return JSONResponse(model.first.card.as_dict())

    async def healthz(self, request: Request) -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Whether pictures are taken."""
        why_not = self._service.why_not()
        if why_not is not None:
            raise Refused(503, "not_ready", why_not, retry=1)
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._service.metrics.text(), media_type=metrics.TYPE)

    async def openapi(self, request: Request) -> Response:
        """This interface, described."""
        return JSONResponse(self._description)


def application(service: Service, gate: Gate) -> ASGIApp:
    """The service as an ASGI application.

    Args:
      service: that answers.
      gate: who is let in.
    """
    table = Routes(service).table()
    routes = [Route(path, handler, methods=[method]) for path, (method, handler) in table.items()]
    routes += [Route(path, _file(*file), methods=["GET"]) for path, file in page.files().items()]
    inside = _Worded(Router(routes, redirect_slashes=False))
    return Door(inside, service, gate, [*table, *page.files()], [*OPEN, *page.files()])


class _Worded:
    """Says in the one form what the router itself refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["app"] = self  # so that the router raises, in place of answers of its own
        try:
            await self._app(scope, receive, send)
        except HTTPException as error:
            headers = dict(error.headers or {})
            if error.status_code == 404:
                raise Refused(404, "not_found", "there is no such path") from None
            said = f"expected {headers.get('allow') or headers.get('Allow')}, not {scope['method']}"
            raise Refused(405, "method_not_allowed", said, headers=headers) from None


def _file(content: bytes, kind: str, policy: str) -> Handler:
    async def answer(request: Request) -> Response:
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": policy}
        if kind.startswith("text/html"):
            headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=()"
        return Response(content, headers=headers, media_type=kind)

    return answer

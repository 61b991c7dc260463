"""Django, protected by one line in `asgi.py`."""

# Django has no types, and its stubs want to know its settings first.
# mypy: disable-error-code="import-untyped,untyped-decorator"

from collections.abc import Awaitable, Callable

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import async_only_middleware
from starlette.types import ASGIApp

from frameworks.calls import CALLS
from keyfob import AccessMiddleware, client_certificate


async def hello(request: HttpRequest) -> HttpResponse:
    CALLS.append("hello")
    certificate = client_certificate(request)
    return HttpResponse(f"Hello, {certificate and certificate.common_name}!")


@async_only_middleware
def note(get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> object:
    """Every request's first middleware."""

    async def noting(request: HttpRequest) -> HttpResponse:
        CALLS.append("middleware")
        return await get_response(request)

    return noting


urlpatterns = [path("", hello)]


def make() -> ASGIApp:
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            MIDDLEWARE=[f"{__name__}.note"],
            ALLOWED_HOSTS=["money.example.com", "localhost"],
            LOGGING_CONFIG=None,
        )
    django.setup()
    application: ASGIApp = get_asgi_application()
    application = AccessMiddleware(application, config="access.toml")
    return application  # noqa: RET504 - the line above is the README's, as it stands there

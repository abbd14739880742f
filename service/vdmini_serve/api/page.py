"""The pages: plain files of `vdmini_serve/page`, served as they are. What they do is theirs, and the API's.

They load nothing from anywhere else, and the Content-Security-Policy holds them to that.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

FOLDER = "page"
PAGES = {
    "/": "index.html",
    "/compare": "compare.html",
    "/models": "models.html",
    "/models/{name}": "model.html",
    "/docs": "reference.html",
}
"""Address of each page, and its file. A new page is a line here, and one in `page/script/header.js`."""

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, and then answered 304: right after an update, too
}


@dataclass(frozen=True)
class PageFile:
    """A file of the pages.

    Args:
        content: its bytes.
        media_type: what they are.
    """

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        """The file, or that the client has it already."""
        headers = {**HEADERS, "ETag": self.etag}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def page_files() -> dict[str, PageFile]:
    """All files of the pages by their path below the folder; together they are small enough to be kept."""
    return dict(_read(files("vdmini_serve") / FOLDER, ""))


def _read(folder: Traversable, above: str) -> list[tuple[str, PageFile]]:
    found: list[tuple[str, PageFile]] = []
    for entry in folder.iterdir():
        kind = entry.name.rpartition(".")[2]
        if entry.is_dir():
            found += _read(entry, f"{above}{entry.name}/")
        elif kind in MEDIA_TYPES:
            found.append((above + entry.name, PageFile(entry.read_bytes(), MEDIA_TYPES[kind])))
    return found


def page_router() -> APIRouter:
    """Routes of the pages and of what they load."""
    router, kept = APIRouter(include_in_schema=False), page_files()

    def serve_page(address: str, name: str) -> None:
        @router.api_route(address, methods=["GET", "HEAD"], response_class=Response)
        async def page(request: Request) -> Response:
            return kept[name].answer(request)

    for address, name in PAGES.items():
        serve_page(address, name)

    @router.api_route("/page/{path:path}", methods=["GET", "HEAD"], response_class=Response)
    async def page_file(path: str, request: Request) -> Response:
        if path not in kept or path.endswith(".html"):
            raise HTTPException(404)
        return kept[path].answer(request)

    return router

"""Where the picture of a request comes from: its body, or a URL. Decoding it is left to `api.picture`."""

from vdmini_serve.api.guard import OutgoingError, Reason
from vdmini_serve.api.outgoing import Outgoing
from vdmini_serve.contract.problem import FieldProblem, ProblemError, ProblemKind
from vdmini_serve.contract.request import ImageToVideoRequest
from vdmini_serve.contract.settings import Settings

KINDS: dict[Reason, ProblemKind] = {
    "refused": ProblemKind.URL_REFUSED,
    "unreachable": ProblemKind.IMAGE_UNREACHABLE,
    "status": ProblemKind.IMAGE_UNREACHABLE,
    "too-large": ProblemKind.IMAGE_TOO_LARGE,
    "too-slow": ProblemKind.IMAGE_TOO_SLOW,
}

ADVICE: dict[ProblemKind, str] = {
    ProblemKind.URL_REFUSED: "give a public https URL, or upload the file",
    ProblemKind.IMAGE_UNREACHABLE: "check the URL, or upload the file",
    ProblemKind.IMAGE_TOO_LARGE: "scale the image down first",
    ProblemKind.IMAGE_TOO_SLOW: "try again, or upload the file",
}


async def picture_bytes(asked: ImageToVideoRequest, settings: Settings, outgoing: Outgoing) -> bytes:
    """The file that a request gave or named; call it after the other fields were found to be good.

    Raises:
        ProblemError: when it is too large, or its URL cannot or may not be read.
    """
    if asked.image is not None:
        if len(asked.image) > settings.max_upload_bytes:
            detail = f"image has {len(asked.image)} bytes; at most {settings.max_upload_bytes} are allowed"
            raise ProblemError(ProblemKind.BODY_TOO_LARGE, detail)
        return asked.image
    if asked.image_url is None:
        raise ProblemError(ProblemKind.MISSING_FIELD, "neither image nor image_url is given; give one of them")
    if not settings.image_urls:
        raise ProblemError(ProblemKind.FEATURE_OFF, "image_url is switched off here; upload the file as image")
    try:
        return await outgoing.get(
            asked.image_url,
            accept="image/png, image/jpeg, image/webp",
            max_bytes=settings.max_upload_bytes,
            seconds=settings.image_url_seconds,
        )
    except OutgoingError as error:
        raise url_problem("image_url", KINDS[error.reason], error) from None


def url_problem(field: str, kind: ProblemKind, error: OutgoingError) -> ProblemError:
    """A problem that doesn't repeat the URL."""
    detail = f"{field} cannot be used: {error.detail}; {ADVICE[kind]}"
    return ProblemError(kind, detail, errors=(FieldProblem(field=field, detail=detail),))

"""`/v1/comparisons`: two clips of one input, side by side in a hidden order; which is better?

Nothing that a ballot or its clips answer tells the order: no job, model, name, hash or timing is in them.
"""

from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response

from vdmini_serve.api import openapi
from vdmini_serve.api.access import CallerDep, SubmitterDep
from vdmini_serve.api.admission import checked
from vdmini_serve.api.ballots import Ballot, Ballots
from vdmini_serve.api.content import name_of
from vdmini_serve.api.intake import read_fields
from vdmini_serve.api.nameless_clip import BrokenBoxesError, nameless
from vdmini_serve.api.pairing import candidate_of, pair_of
from vdmini_serve.api.preference import Preference, preferences
from vdmini_serve.api.results import damaged
from vdmini_serve.api.state import Service, ServiceDep
from vdmini_serve.contract.comparison import Comparison, Side, Vote
from vdmini_serve.contract.record import Record

router = APIRouter(prefix="/v1/comparisons", tags=["comparisons"])
BodyT = TypeVar("BodyT", bound=Record)


class NewComparison(Record):
    """Which two jobs to compare."""

    jobs: list[str] = Field(
        min_length=2, max_length=2, description="ids of two succeeded jobs of one request, as vdmini and as teacher"
    )


class NewBallot(Record):
    """Who votes."""

    voter: str = Field(
        min_length=16,
        max_length=64,
        description="random text that a client draws once and keeps; of it only a hash with the comparison is stored, "
        "so that nobody votes on one twice",
    )


class BallotClips(Record):
    """Where the clips are."""

    left: str = Field(description="path of the MP4 to show on the left")
    right: str = Field(description="path of the MP4 to show on the right")


class ShownBallot(Record):
    """Two clips to compare, in an order that is told after the vote."""

    id: str = Field(description="32 hexadecimal digits")
    task: str = Field(description="i2v or t2v")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    num_frames: int = Field(description="frames")
    fps: int = Field(description="frames per second")
    clips: BallotClips = Field(description="the two MP4s, without metadata")
    to_vote: int = Field(description="comparisons that this voter has not voted on, this one included; the newest 200")
    expires_at: float = Field(description="Unix time until which it can be voted on")


class Revealed(Record):
    """One side of a ballot after the vote."""

    variant: str = Field(description="vdmini or teacher")
    model: str = Field(description="name of the model")
    job: str = Field(description="id of the job")


class Reveal(Record):
    """What was on which side."""

    left: Revealed = Field(description="what was on the left")
    right: Revealed = Field(description="what was on the right")
    preferences: list[Preference] = Field(description="what all votes on this model say now")


class Standings(Record):
    """What was voted."""

    comparisons: int = Field(description="pairs of clips that can be voted on")
    preferences: list[Preference] = Field(description="of each model and question that had a vote")


def _ballots(service: ServiceDep) -> Ballots:
    return Ballots(service.store.redis)


BallotsDep = Annotated[Ballots, Depends(_ballots)]


async def _read(request: Request, kind: type[BodyT]) -> BodyT:
    fields = await read_fields(request, 0)
    return checked(kind, fields.values, typed=fields.typed)


@router.get("", summary="What people preferred", responses=openapi.STANDINGS)
async def standings(ballots: BallotsDep, caller: CallerDep) -> Standings:
    """Votes of everybody, and how many pairs this caller can vote on."""
    return Standings(comparisons=await ballots.number(caller.owner), preferences=preferences(await ballots.votes()))


@router.post(
    "",
    status_code=201,
    summary="Let two clips be compared",
    responses=openapi.COMPARISON_MADE,
    openapi_extra=openapi.json_body(NewComparison, "NewComparison"),
)
async def make_comparison(
    request: Request, service: ServiceDep, ballots: BallotsDep, caller: SubmitterDep
) -> Comparison:
    """Both must have succeeded, with the same input, settings and seed, one by a model and one by its teacher."""
    asked = await _read(request, NewComparison)
    one, other = [candidate_of(await service.store.fields(job_id, caller.may_see)) for job_id in asked.jobs]
    return await ballots.register(pair_of(one, other, await service.store.models()))


@router.post(
    "/ballots",
    status_code=201,
    summary="Draw two clips to vote on",
    responses=openapi.BALLOT_DRAWN,
    openapi_extra=openapi.json_body(NewBallot, "NewBallot"),
    response_model=ShownBallot,
)
async def draw_ballot(
    request: Request, service: ServiceDep, ballots: BallotsDep, caller: SubmitterDep
) -> ShownBallot | Response:
    """Among those with the fewest votes; 204 when this voter has seen all. The order is drawn for each ballot."""
    asked = await _read(request, NewBallot)
    drawn, left = await ballots.draw(caller.owner, asked.voter)
    return await _shown(drawn, left, service) if drawn else Response(status_code=204)


async def _shown(ballot: Ballot, left: int, service: Service) -> ShownBallot:
    job = await service.store.get(ballot.jobs["vdmini"])
    path = f"{router.prefix}/ballots/{ballot.id}/clips"
    return ShownBallot(
        id=ballot.id,
        task=ballot.task,
        width=job.width,
        height=job.height,
        num_frames=job.num_frames,
        fps=job.fps,
        clips=BallotClips(left=f"{path}/left", right=f"{path}/right"),
        to_vote=left,
        expires_at=ballot.expires_at,
    )


@router.get(
    "/ballots/{ballot_id}/clips/{side}",
    summary="One of the two clips",
    responses=openapi.BALLOT_CLIP,
    response_class=Response,
)
async def ballot_clip(
    ballot_id: openapi.BallotId, side: openapi.BallotSide, service: ServiceDep, ballots: BallotsDep, caller: CallerDep
) -> Response:
    """Without metadata: an MP4's own names the model that made it."""
    ballot = await ballots.get(ballot_id, caller.may_see)
    job = await service.store.get(ballot.jobs[ballot.variant(side)])
    pieces = service.results.read(name_of(job), 0, (job.size_bytes or 0) - 1, sha256=job.sha256)
    try:
        clip = nameless(b"".join([piece async for piece in pieces]))
    except BrokenBoxesError as error:
        raise damaged() from error
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(clip, media_type="video/mp4", headers=headers)


@router.post(
    "/ballots/{ballot_id}/vote",
    summary="Vote",
    responses=openapi.VOTED,
    openapi_extra=openapi.json_body(Vote, "Vote"),
)
async def vote(ballot_id: openapi.BallotId, request: Request, ballots: BallotsDep, caller: CallerDep) -> Reveal:
    """Counted once; the answer tells which clip was whose. The same vote again is answered, and not counted again."""
    said = await _read(request, Vote)
    ballot = await ballots.get(ballot_id, caller.may_see)
    await ballots.vote(ballot, said)
    found = [each for each in preferences(await ballots.votes()) if each.model == ballot.models["vdmini"]]
    return Reveal(left=_revealed(ballot, "left"), right=_revealed(ballot, "right"), preferences=found)


def _revealed(ballot: Ballot, side: Side) -> Revealed:
    variant = ballot.variant(side)
    return Revealed(variant=variant, model=ballot.models[variant], job=ballot.jobs[variant])

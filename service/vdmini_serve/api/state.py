"""What all routes of one application share."""

from dataclasses import dataclass
from typing import Annotated

from celery import Celery
from fastapi import Depends, Request

from vdmini_serve.api.expectations import ExpectationsCache
from vdmini_serve.api.expiry import Expiry
from vdmini_serve.api.feeds import JobFeeds
from vdmini_serve.api.finished import FinishedJobs
from vdmini_serve.api.outgoing import Outgoing
from vdmini_serve.api.queue import Queue
from vdmini_serve.api.rates import Rates
from vdmini_serve.api.results import Results
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.settings import Settings


@dataclass(frozen=True)
class Service:
    """The service behind the routes.

    Args:
        settings: of the application.
        store: the jobs.
        celery: publishes them.
        finished: wakes requests that wait.
        feeds: follows jobs for streams.
        queue: where jobs stand.
        expectations: what work takes.
        rates: counts requests.
        outgoing: calls URLs that clients name.
        results: the clips.
        expiry: removes jobs and clips.
    """

    settings: Settings
    store: ApiStore
    celery: Celery
    finished: FinishedJobs
    feeds: JobFeeds
    queue: Queue
    expectations: ExpectationsCache
    rates: Rates
    outgoing: Outgoing
    results: Results
    expiry: Expiry


def service_of(request: Request) -> Service:
    """The service of a request's application."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(service_of)]

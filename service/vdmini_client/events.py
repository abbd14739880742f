"""Reading a job's server-sent events line by line. Opening the stream is left to the clients."""

from pydantic import ValidationError

from vdmini_client.answers import Job


class EventReader:
    """Puts lines together to jobs, over several streams when one breaks."""

    def __init__(self) -> None:
        self.job: Job | None = None
        """The newest state that came."""
        self.last_id: str | None = None
        """What to send as `Last-Event-ID` to a new stream."""
        self._data: list[str] = []
        self._id: str | None = None

    def begin(self) -> None:
        """Forget the half event of a stream that broke."""
        self._data, self._id = [], None

    def feed(self, line: str) -> Job | None:
        """Take a line without its end; returns a job when the line completes one."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        elif not line and self._data:
            return self._complete()
        return None

    def _complete(self) -> Job | None:
        data, name = "\n".join(self._data), self._id
        self.begin()
        try:
            self.job = Job.model_validate_json(data)
        except ValidationError:
            return None  # an event of a kind that this client doesn't know
        self.last_id = name
        return self.job

"""Why a request, or a picture of it, is not answered: one form for all."""

from typing import Any


class Refused(Exception):
    """A request or a picture that is not answered.

    Args:
      status: of HTTP.
      code: one word that a program may go by.
      message: one sentence for a person; nothing of the server is in it.
      retry: seconds after which the same may succeed; None where it will not.
      headers: of the answer.

    Attributes:
      status: as given.
      code: as given.
      message: as given.
      headers: with `Retry-After`, where that makes sense.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})
        if retry is not None:
            self.headers["Retry-After"] = str(retry)

    def as_dict(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"code": self.code, "message": self.message}}

"""Every error this package raises on purpose, in one tree.

    OllamaError                  anything below; carries the HTTP status a server answers with
    ├── BadRequest               the caller's input is wrong                               400
    │   ├── InvalidName          a model name that no store could hold                     400
    │   ├── InvalidDigest        a digest that is not sha256 and 64 hex digits              400
    │   ├── InvalidModelfile     a Modelfile that does not parse; knows its line            400
    │   ├── InvalidTemplate      a prompt template that does not parse or run               400
    │   ├── InvalidModelFile     a GGUF file that must not reach native code                400
    │   └── UnsupportedCapability the model cannot do what was asked                        400
    ├── Unauthorized             no key, or the wrong one                                  401
    ├── Forbidden                a host or origin that may not ask                         403
    ├── NotFound                 the model, blob or route is not here                      404
    ├── Busy                     the queue is full                                         503
    ├── InsufficientMemory       it will not fit; knows bytes wanted and free              500
    ├── RunnerError              the process that holds a model failed                     500
    │   ├── RunnerStartFailed    it never became healthy; knows exit code and log tail     500
    │   └── RunnerDied           it ended in the middle of a request                       500
    ├── RequestCanceled          the client went away                                      499
    ├── StoreError               the disk refused, or what it holds is damaged             500
    ├── ServerUnreachable        a client found no server where it looked                  502
    └── ServerError              a server answered with an error; knows its status         as sent

A message says what failed, with which value, and what to do. `BadRequest` is the caller's
fault; every other branch is not.
"""

from typing import ClassVar


class OllamaError(Exception):
    """Base of every deliberate error; `str(error)` is the one line a user reads."""

    status: ClassVar[int] = 500


class BadRequest(OllamaError):
    """The caller's input is wrong; nothing was changed."""

    status = 400


class InvalidName(BadRequest):
    """A text that is no model name."""


class InvalidDigest(BadRequest):
    """A text that is no sha256 digest."""


class InvalidModelfile(BadRequest):
    """A Modelfile that does not parse.

    Attributes:
        line: the line of the error, counted from 1; 0 when it concerns the whole file.
    """

    def __init__(self, message: str, *, line: int = 0) -> None:
        """Keep the line beside the message."""
        super().__init__(message)
        self.line = line


class InvalidTemplate(BadRequest):
    """A prompt template that does not parse, or fails on the given messages.

    Attributes:
        line: line of the offending action, counted from 1; 0 when unknown.
        column: column in that line, counted from 1; 0 when unknown.
    """

    def __init__(self, message: str, *, line: int = 0, column: int = 0) -> None:
        """Keep the place beside the message."""
        super().__init__(message)
        self.line = line
        self.column = column


class InvalidModelFile(BadRequest):
    """A GGUF file whose header is not one llama.cpp should be shown."""


class UnsupportedCapability(BadRequest):
    """The model cannot do what was asked of it (chat, tools, thinking, insert, vision)."""


class Unauthorized(OllamaError):
    """The request carried no key, or the wrong one."""

    status = 401


class Forbidden(OllamaError):
    """The request came from a host or origin that may not ask."""

    status = 403


class NotFound(OllamaError):
    """The named thing is not here."""

    status = 404


class Busy(OllamaError):
    """The queue of waiting requests is full."""

    status = 503


class InsufficientMemory(OllamaError):
    """The model will not fit.

    Attributes:
        wanted_bytes: what the load was estimated to take.
        free_bytes: what was free when it was refused.
    """

    def __init__(self, message: str, *, wanted_bytes: int, free_bytes: int) -> None:
        """Keep both figures beside the message."""
        super().__init__(message)
        self.wanted_bytes = wanted_bytes
        self.free_bytes = free_bytes


class RunnerError(OllamaError):
    """The process that holds a model failed."""


class RunnerStartFailed(RunnerError):
    """The process never became healthy.

    Attributes:
        exit_code: its exit code, negative for a signal; None while it still ran.
        log_tail: the last lines it wrote, for the log and for `doctor`.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, log_tail: str = "") -> None:
        """Keep what the process left behind beside the message."""
        super().__init__(message)
        self.exit_code = exit_code
        self.log_tail = log_tail


class RunnerDied(RunnerError):
    """The process ended, or hung, in the middle of a request.

    Attributes:
        exit_code: its exit code, negative for a signal; None when it was killed for hanging.
    """

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        """Keep the exit code beside the message."""
        super().__init__(message)
        self.exit_code = exit_code


class RequestCanceled(OllamaError):
    """The client went away before the answer was complete."""

    status = 499


class StoreError(OllamaError):
    """The disk refused an operation, or a file in the store is damaged."""


class ServerUnreachable(OllamaError):
    """A client found no server where it looked."""

    status = 502


class ServerError(OllamaError):
    """A server answered a client with an error.

    Attributes:
        http_status: the status it answered with; 200 when the error came inside a stream.
    """

    def __init__(self, message: str, *, http_status: int) -> None:
        """Keep the status beside the message."""
        super().__init__(message)
        self.http_status = http_status

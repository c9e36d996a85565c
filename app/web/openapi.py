"""One declaration of an API operation: it validates what comes in, and it is the documentation."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from flask import Response, current_app, request
from pydantic import AliasGenerator, BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from app.cache import Entry
from app.errors import InvalidRequest
from app.web.caching import answer_from_cache
from app.web.problems import MAX_DETAILS, MalformedBody


def camel_case(name: str) -> str:
    """`roi_24h_pct` as `roi24hPct`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


class AnswerModel(BaseModel):
    """The base of what the API answers: camelCase, built from the values services return."""

    model_config = ConfigDict(
        from_attributes=True,
        frozen=True,
        serialize_by_alias=True,
        alias_generator=AliasGenerator(serialization_alias=camel_case),
    )


class QueryModel(BaseModel):
    """The base of what may stand behind the question mark; a word it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BodyModel(BaseModel):
    """The base of what may be sent: strictly typed, and nothing beyond what is declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Access(StrEnum):
    """Which key an operation asks for."""

    OPERATOR = "operator"
    CRON = "cron"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with another status than 200, or with headers of its own."""

    payload: BaseModel
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and answers. `answers` maps a status to its model."""

    summary: str
    answers: Mapping[int, type[BaseModel]]
    problems: tuple[int, ...] = ()
    query: type[QueryModel] | None = None
    body: type[BodyModel] | None = None
    access: Access = Access.OPERATOR
    cached: Entry | None = None
    media_type: str = "application/json"


View = Callable[..., BaseModel | Reply]
QueryModelT = TypeVar("QueryModelT", bound=QueryModel)
BodyModelT = TypeVar("BodyModelT", bound=BodyModel)


class Endpoint:
    """A view behind its declaration; Flask calls it with the variables of the path."""

    def __init__(self, operation: Operation, view: View) -> None:
        functools.update_wrapper(self, view)
        self.name = view.__name__
        self.operation = operation
        self._view = view

    def __call__(self, **path: Any) -> Response:
        """Validate, call the view, and write its answer.

        Raises `InvalidRequest` for the query, `MalformedBody` or `UnsupportedMediaType` for the
        body, and `KeyError` for an answer that is not declared.
        """
        if self.operation.cached is not None:
            return self._from_cache(self.operation.cached, path)
        return _respond(self.operation, self._answer(path))

    def _from_cache(self, entry: Entry, path: Mapping[str, Any]) -> Response:
        parts = {name: str(value)[:200] for name, value in path.items()}
        if self.operation.query is not None:
            query = read_query(self.operation.query)
            parts |= {f"query_{name}": str(value) for name, value in query}
        parts["operation"] = self.name
        build = lambda: _write(self.operation, self._answer(path))  # noqa: E731
        return answer_from_cache(entry, parts, build)

    def _answer(self, path: Mapping[str, Any]) -> Reply:
        arguments = dict(path)
        if self.operation.query is not None:
            arguments["query"] = read_query(self.operation.query)
        if self.operation.body is not None:
            arguments["body"] = read_body(self.operation.body)
        answer = self._view(**arguments)
        return answer if isinstance(answer, Reply) else Reply(answer)


def operation(
    *,
    summary: str,
    answers: Mapping[int, type[BaseModel]],
    problems: Sequence[int] = (),
    query: type[QueryModel] | None = None,
    body: type[BodyModel] | None = None,
    access: Access = Access.OPERATOR,
    cached: Entry | None = None,
) -> Callable[[View], Endpoint]:
    """Declare an operation; its view's docstring is the description.

    The view takes the path's variables and, where declared, `query` and `body`, all by keyword. It
    returns a model of `answers` (a `Reply` for another status than 200). `problems` lists the
    statuses of its own refusals; those that every route may give are added by the document. With
    `cached` the answer is kept until the data changes: it must depend on nothing but the stored
    data, the path and the query, and its status is 200.
    """
    declared = Operation(summary, answers, tuple(problems), query, body, access, cached)
    return functools.partial(Endpoint, declared)


def read_query(model: type[QueryModelT]) -> QueryModelT:
    """The query of the request; `InvalidRequest` names every parameter that is wrong."""
    repeated = [name for name in request.args if len(request.args.getlist(name)) > 1]
    if repeated:
        raise InvalidRequest(
            "The query is not valid.", [f"{name}: given more than once" for name in repeated]
        )
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise InvalidRequest("The query is not valid.", _faults(error)) from None


def read_body(model: type[BodyModelT]) -> BodyModelT:
    """The JSON body of the request, of which an empty one is the model's defaults."""
    text = request.get_data()
    if text and not request.is_json:
        raise UnsupportedMediaType()
    try:
        return model.model_validate_json(text or b"{}")
    except ValidationError as error:
        raise MalformedBody("The body is not what is expected.", _faults(error)) from None


def _faults(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [_fault(".".join(map(str, item["loc"])), item["msg"]) for item in found[:MAX_DETAILS]]


def _fault(place: str, message: str) -> str:
    return f"{place[:100]}: {message}" if place else message


def _respond(operation: Operation, reply: Reply) -> Response:
    response = Response(_write(operation, reply), reply.status, mimetype="application/json")
    response.headers.update(reply.headers)
    return response


def _write(operation: Operation, reply: Reply) -> bytes:
    model = operation.answers[reply.status]
    if not isinstance(reply.payload, model):
        raise TypeError(
            f"{type(reply.payload).__name__} answers where {model.__name__} is declared"
        )
    return (current_app.json.dumps(reply.payload.model_dump(by_alias=True)) + "\n").encode()

"""Decodes an Earth Engine expression and evaluates it.

An expression is ``{"values": {key: node}, "result": key}``. Each node holds one of the fields of
the REST API's ``ValueNode``; references between nodes let the client send shared parts once. A
function's body is itself a value key, evaluated again for every call, with the arguments in scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thor_geo.emulator._errors import RequestError

#: Calls a function of the API by name: (name, evaluated arguments) -> value.
Dispatch = Callable[[str, Mapping[str, Any]], Any]


class Scope:
    """The arguments of one function call, and the references evaluated within it.

    Args:
        arguments: Values of the call's arguments by name.
        parent: The scope in which the function was defined; None for the expression itself.
    """

    def __init__(self, arguments: Mapping[str, Any], parent: Scope | None = None) -> None:
        self.arguments = arguments
        self.parent = parent
        self.values: dict[str, Any] = {}

    def argument(self, name: str) -> Any:
        """Return an argument of this call or of one around it.

        Raises:
            RequestError: If no enclosing function has such an argument.
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.arguments:
                return scope.arguments[name]
            scope = scope.parent
        raise RequestError(f"Invalid expression: unknown argument reference '{name}'.")


class Function:
    """A function that the client defined, such as the body of a ``map``.

    Args:
        names: Argument names.
        body: Value key of the body.
        scope: The scope it was defined in.
        graph: The expression it belongs to.
    """

    def __init__(self, names: Sequence[str], body: str, scope: Scope, graph: Graph) -> None:
        self.names = tuple(names)
        self._body = body
        self._scope = scope
        self._graph = graph

    def __call__(self, *arguments: Any) -> Any:
        """Evaluate the body.

        Args:
            arguments: Values, one per argument name.

        Raises:
            RequestError: If the number of arguments is wrong, or the body fails.
        """
        if len(arguments) != len(self.names):
            raise RequestError(
                f"A function of {len(self.names)} arguments was called with {len(arguments)}."
            )
        scope = Scope(dict(zip(self.names, arguments, strict=True)), self._scope)
        return self._graph.reference(self._body, scope)


class Graph:
    """One decoded expression.

    Args:
        expression: The ``expression`` of a request.
        dispatch: Calls a function of the API by name.

    Raises:
        RequestError: If the expression has no ``values`` or ``result``.
    """

    def __init__(self, expression: Any, dispatch: Dispatch) -> None:
        if (
            not isinstance(expression, dict)
            or not isinstance(expression.get("values"), dict)
            or not isinstance(expression.get("result"), str)
        ):
            raise RequestError("Invalid expression: it needs 'values' and 'result'.")
        self._values: Mapping[str, Any] = expression["values"]
        self._result: str = expression["result"]
        self._dispatch = dispatch

    def evaluate(self) -> Any:
        """Return the value of the expression.

        Raises:
            RequestError: If any part of it is malformed, unknown or fails.
        """
        try:
            return self.reference(self._result, Scope({}))
        except RecursionError:
            raise RequestError("Invalid expression: it is nested too deeply.") from None

    def reference(self, key: str, scope: Scope) -> Any:
        """Return the value under a key; each is evaluated once per scope.

        Raises:
            RequestError: If there is no such key, or what it names is malformed, unknown or fails.
        """
        if key not in scope.values:
            if key not in self._values:
                raise RequestError(f"Invalid expression: unknown value reference '{key}'.")
            scope.values[key] = self._node(self._values[key], scope)
        return scope.values[key]

    def _node(self, node: Any, scope: Scope) -> Any:
        """Evaluate one ValueNode."""
        if not isinstance(node, dict) or len(node) != 1:
            raise RequestError(
                f"Invalid expression: a node must have one field, got {node!r:.200}."
            )
        ((kind, content),) = node.items()
        match kind:
            case "constantValue":
                return content
            case "integerValue":
                return int(content)
            case "arrayValue":
                return [self._node(item, scope) for item in content.get("values", [])]
            case "dictionaryValue":
                items = content.get("values", {}).items()
                return {key: self._node(item, scope) for key, item in items}
            case "valueReference":
                return self.reference(content, scope)
            case "argumentReference":
                return scope.argument(content)
            case "functionDefinitionValue":
                names, body = content.get("argumentNames", []), content["body"]
                return Function(names, body, scope, self)
            case "functionInvocationValue":
                return self._call(content, scope)
            case _:
                raise RequestError(f"Expression node '{kind}' is not supported by the emulator.")

    def _call(self, invocation: Mapping[str, Any], scope: Scope) -> Any:
        """Evaluate the arguments of a call, then the call."""
        if "functionName" not in invocation:
            raise RequestError("Calls by 'functionReference' are not supported by the emulator.")
        arguments = {
            name: self._node(node, scope) for name, node in invocation.get("arguments", {}).items()
        }
        return self._dispatch(invocation["functionName"], arguments)

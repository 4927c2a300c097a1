"""A pickle machine that builds nothing but plain containers and descriptions of tensors.

A pickle is a program for a stack machine, whose instructions may import any name and call it.
This machine has no instruction that imports: a name stays a name, and a call of one that is not
among the few that tensors need leaves the placeholder FOREIGN. Python's own unpickler with its
names restricted would not do: some pickles of a few bytes make it fill all memory (a large index
for its memo) or hang (hashing tuples that hold each other twice).
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from sllm_export.checkpoint.torch_tensors import (
    STORAGE_ELEMENTS,
    StorageRef,
    natural,
    rebuild_parameter,
    rebuild_tensor,
)

MAX_OPERATIONS = 2**22
"""A checkpoint with optimizer and logs has a few hundred thousand."""


MAX_BITS = 64
"""Of a number; what is longer is no size."""


class Foreign:
    """Stands for every object that is not admitted; there is one, FOREIGN."""

    def __repr__(self) -> str:
        return "FOREIGN"


FOREIGN = Foreign()


class _Name(NamedTuple):
    """A name that the pickle wants imported."""

    module: str
    name: str


def _ordered_dict(*items: Any) -> Any:
    # Only old pickles hand over the items; a state dict's are set one by one.
    return FOREIGN if items else {}


_ADMITTED: dict[_Name, Callable[..., Any]] = {
    _Name("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    _Name("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    _Name("torch._utils", "_rebuild_parameter_with_state"): rebuild_parameter,
    _Name("collections", "OrderedDict"): _ordered_dict,
}
_MARK = object()


def load_restricted(data: bytes) -> Any:
    """Unpickles `data`. Raises pickle.UnpicklingError if it is broken or hostile."""
    try:
        return _Machine().run(data)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if count >= MAX_OPERATIONS:
                raise pickle.UnpicklingError(f"more than {MAX_OPERATIONS} operations")
            if operation.name == "STOP":
                break
            self._execute(operation.name, argument)
        return self._pop()

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise pickle.UnpicklingError("a mark in place of a value")
        return value

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            items.append(value)
        items.reverse()
        return items

    def _execute(self, operation: str, argument: Any) -> None:
        push = self._stack.append
        match operation:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                push(_MARK)
            case "POP":
                self._stack.pop()
            case "POP_MARK":
                self._pop_to_mark()
            case "DUP":
                push(self._top())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._top()
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "NONE":
                push(None)
            case "NEWTRUE" | "NEWFALSE":
                push(operation == "NEWTRUE")
            case _ if operation in _LITERALS:
                # Reckoning with a number of a million digits takes minutes.
                long = isinstance(argument, int) and argument.bit_length() > MAX_BITS
                push(FOREIGN if long else argument)
            case _:
                if not self._build_container(operation):
                    self._build_object(operation, argument)

    def _build_container(self, operation: str) -> bool:
        """Executes an instruction of tuples, lists, dicts and sets; False if it is none."""
        push, pop = self._stack.append, self._pop
        match operation:
            case "EMPTY_TUPLE":
                push(())
            case "TUPLE":
                push(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple([pop() for _ in range(int(operation[-1]))][::-1]))
            case "EMPTY_LIST":
                push([])
            case "LIST":
                push(self._pop_to_mark())
            case "APPEND":
                value = pop()
                self._extend([value])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "EMPTY_DICT":
                push({})
            case "DICT":
                items = self._pop_to_mark()
                push({})
                self._set_items(items)
            case "SETITEM":
                value, key = pop(), pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "EMPTY_SET":
                push(FOREIGN)
            case "ADDITEMS":
                self._pop_to_mark()
            case "FROZENSET":
                self._pop_to_mark()
                push(FOREIGN)
            case _:
                return False
        return True

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(items)
        elif target is not FOREIGN:
            raise pickle.UnpicklingError("items for what is no list")

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if target is FOREIGN:
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise pickle.UnpicklingError("items for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Keys that are no strings are of no use here, and hashing them may take for ever.
            target[key if isinstance(key, str) else FOREIGN] = value

    def _build_object(self, operation: str, argument: Any) -> None:
        push, pop = self._stack.append, self._pop
        match operation:
            case "GLOBAL":
                push(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = pop(), pop()
                push(_name(module, name))
            case "REDUCE" | "NEWOBJ":
                arguments, called = pop(), pop()
                push(_call(called, arguments))
            case "NEWOBJ_EX":
                pop(), pop(), pop()
                push(FOREIGN)
            case "INST" | "OBJ":
                self._pop_to_mark()
                push(FOREIGN)
            case "EXT1" | "EXT2" | "EXT4":
                push(FOREIGN)
            case "BUILD":
                # The state of an object: a state dict's `_metadata`, or that of what is foreign.
                pop()
                self._top()
            case "BINPERSID":
                push(_storage(pop()))
            case _:
                raise pickle.UnpicklingError(f"the operation {operation} has no place here")


_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)


def _name(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise pickle.UnpicklingError("a name that is not a string")
    return _Name(module, name)


def _call(called: Any, arguments: Any) -> Any:
    function = _ADMITTED.get(called) if isinstance(called, _Name) else None
    if function is None:
        return FOREIGN
    if not isinstance(arguments, tuple):
        raise pickle.UnpicklingError("a call whose arguments are not a tuple")
    # A tensor of a kind that is not admitted: complex, float8, quantised.
    if arguments and arguments[0] is FOREIGN:
        return FOREIGN
    return function(*arguments)


def _storage(identifier: Any) -> StorageRef | Foreign:
    match identifier:
        case ("storage", _Name("torch", kind), str() as key, _, count) if kind in STORAGE_ELEMENTS:
            return StorageRef(key, STORAGE_ELEMENTS[kind], natural(count))
        case ("storage", _Name(), str(), _, _):
            return FOREIGN
    raise pickle.UnpicklingError("a persistent id that is not a tensor storage")

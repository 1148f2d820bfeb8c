"""Object arrays of numpy, which are pickles, as plain rows; nothing of numpy is built while a pickle is read.

A pickle that may build numpy's types could describe a type whose bytes are taken for addresses of objects. Here
each global that an array's pickle asks for is a stand-in that collects shape, type code and values, and checks them.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import sys
from typing import Any

import numpy as np

_OPCODES = re.compile(
    r"PROTO|FRAME|STOP|GLOBAL|STACK_GLOBAL|REDUCE|BUILD|MARK|MEMOIZE|(LONG_)?BIN(PUT|GET)|NONE|NEWTRUE|NEWFALSE|"
    r"BININT[12]?|LONG1|BINFLOAT|(SHORT_)?BIN(UNICODE|BYTES|STRING)|"
    r"EMPTY_(LIST|TUPLE)|TUPLE[123]?|APPENDS?|POP|POP_MARK"
)
_CODE = re.compile(r"(?:(?P<number>b1|[iu][1248]|f[248])|(?P<text>[US])(?P<length>[1-9][0-9]{0,4})|(?P<object>O[48]?))")
_UNICODE_BYTES = 4
_DEEPEST = 4
"""Array, row, cell, and corners of a cell; one more for corners as two points."""


def rows_of_pickle(content: bytes, shape: tuple[int, ...]) -> list[Any]:
    """Return the rows of a pickled object array as lists of plain numbers, texts and lists.

    Args:
        content: the pickle, which follows the header of the file.
        shape: of the array as the header has it.

    Raises:
        ValueError: the pickle asks for anything but plain arrays, numbers and texts, or is damaged otherwise;
            `pickle.UnpicklingError`, `EOFError`, `TypeError` and the like are raised by `pickle` itself.

    Example:
        >>> rows = np.empty((1, 3), object)
        >>> rows[0] = ["valve", np.array([1, 2, 3, 4]), np.str_("7")]
        >>> rows_of_pickle(pickle.dumps(rows, 4), (1, 3))
        [['valve', [1, 2, 3, 4], '7']]
    """
    _check_opcodes(content)
    array = _Unpickler(io.BytesIO(content)).load()
    if not isinstance(array, _Array) or array.shape != shape or not array.holds_objects:
        raise ValueError("it does not hold the array that its header announces")
    found = _Plain(most=len(content)).of(array)
    return found if isinstance(found, list) else [found]


def plain_values(array: np.ndarray) -> Any:
    """Return the numbers or texts of an array as nested lists.

    Raises:
        ValueError: a text has a number that is no character.
    """
    if array.dtype.kind == "U":
        points = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if (points > sys.maxunicode).any():
            raise ValueError("a text in it has a number that is no character")
    return array.tolist()


def _check_opcodes(content: bytes) -> None:
    """Refuse what an array needs not: building of other objects, and places of the memo that fill the memory."""
    for opcode, argument, _ in pickletools.genops(content):
        if not _OPCODES.fullmatch(opcode.name):
            raise ValueError(f"its pickle uses {opcode.name}; expected arrays, numbers and texts only")
        if opcode.name.endswith("PUT") and int(argument or 0) > len(content):
            raise ValueError(f"its pickle numbers an object {argument}, more than it has bytes")


class _Plain:
    """Turns collected values into plain ones; their number is bounded, as lists may contain each other."""

    def __init__(self, *, most: int) -> None:
        self._left = most

    def of(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise ValueError("its values are nested deeper, or more, than rows of name, box and class are")
        if isinstance(value, _Array):
            value = value.nested()
        if isinstance(value, list | tuple):
            return [self.of(one, depth + 1) for one in value]
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        raise ValueError(f"it holds {type(value).__name__.strip('_').lower()} as a value; expected numbers and texts")


# --- Stand-ins for the globals ----------------------------------------------------------------------------


class _StandIn:
    """What a pickle gets for a global: no type, and nothing that it can change."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError("its pickle changes a global of numpy; expected arrays, numbers and texts only")


class _ArrayType(_StandIn):
    """For ``numpy.ndarray``, which is named, not called."""

    __slots__ = ()


class _NewDtype(_StandIn):
    """For ``numpy.dtype``."""

    __slots__ = ()

    def __call__(self, code: Any, *options: Any) -> _Dtype:
        del options  # align and copy
        return _Dtype(code)


class _NewArray(_StandIn):
    """For ``numpy.core.multiarray._reconstruct``."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if not isinstance(kind, _ArrayType) or shape != (0,) or code not in (b"b", "b"):
            raise ValueError("its pickle builds another array than numpy writes")
        return _Array()


class _NewScalar(_StandIn):
    """For ``numpy.core.multiarray.scalar``."""

    __slots__ = ()

    def __call__(self, dtype: Any, content: Any = b"") -> Any:
        if not isinstance(dtype, _Dtype) or dtype.is_object:
            raise ValueError("its pickle has a single value that is no number or text")
        return dtype.values(content, (), is_fortran=False)


class _Dtype:
    """The type of an array's items: a number, a text of fixed length, or any object."""

    __slots__ = ("_code", "_order", "_size", "is_object")

    def __init__(self, code: Any) -> None:
        match = _CODE.fullmatch(code) if isinstance(code, str) else None
        if match is None:
            raise ValueError(f"its pickle has items of the type {str(code)[:40]!r}; expected numbers and texts")
        self._code = code
        self._order = "="
        self.is_object = match["object"] is not None
        units = _UNICODE_BYTES if match["text"] == "U" else 1
        self._size = int(match["length"]) * units if match["text"] else int(code[1:] or 8)

    def __setstate__(self, state: Any) -> None:
        if (
            not isinstance(state, tuple)
            or len(state) != 8
            or state[0] != 3
            or any(one is not None for one in state[2:5])
        ):
            raise ValueError("its pickle has items of several fields; expected numbers and texts")
        order, size, flags = state[1], state[5], state[7]
        if order not in ("<", ">", "|", "=") or size not in (-1, self._size) or not isinstance(flags, int):
            raise ValueError("its pickle has a type of items that contradicts itself")
        self._order = order

    def values(self, content: Any, shape: tuple[int, ...], *, is_fortran: bool) -> Any:
        """Return numbers or texts from their bytes, as nested lists; for the shape () a single one."""
        count = math.prod(shape)
        if not isinstance(content, bytes) or len(content) != count * self._size:
            raise ValueError(f"its pickle has an array of {count} items with another number of bytes")
        if not count:
            return []
        array = np.frombuffer(content, np.dtype(self._order + self._code), count)
        return plain_values(array.reshape(shape, order="F" if is_fortran else "C"))


class _Array:
    """An array as it was pickled."""

    __slots__ = ("_items", "holds_objects", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] | None = None
        self.holds_objects = False
        self._items: Any = []

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1:
            raise ValueError("its pickle has an array in another format than numpy writes")
        _, shape, dtype, is_fortran, items = state
        is_shape = isinstance(shape, tuple) and 1 <= len(shape) <= 2
        if (
            not is_shape
            or any(type(side) is not int or side < 0 for side in shape)
            or (shape[0] and not math.prod(shape))
        ):
            raise ValueError("its pickle has an array that is no list or table")
        if not isinstance(dtype, _Dtype):
            raise TypeError("its pickle has an array without a type of items")
        if not dtype.is_object:
            items = dtype.values(items, shape, is_fortran=bool(is_fortran))
        elif not isinstance(items, list) or len(items) != math.prod(shape):
            raise ValueError(f"its pickle has an array of {math.prod(shape)} items with another number of values")
        self.shape, self.holds_objects, self._items = shape, dtype.is_object, items

    def nested(self) -> list[Any]:
        """Return the items, as rows if there are two axes; numpy lists objects by rows in either order of memory."""
        if self.shape is None:
            raise ValueError("its pickle has an array without content")
        if not self.holds_objects or len(self.shape) == 1:
            return list(self._items)
        rows, columns = self.shape
        return [self._items[row * columns : (row + 1) * columns] for row in range(rows)]


_ALLOWED = {
    ("numpy", "ndarray"): _ArrayType(),
    ("numpy", "dtype"): _NewDtype(),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _NewArray() for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _NewScalar() for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    """Knows the stand-ins, and plain values, which need no global."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in.

        Raises:
            ValueError: the pickle asks for another global than an array needs.
        """
        if (module, name) not in _ALLOWED:
            raise ValueError(
                f"it is a pickle that asks for {module[:60]}.{name[:60]}; expected arrays, numbers and texts only"
            )
        return _ALLOWED[module, name]

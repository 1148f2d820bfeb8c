"""Files with weights that somebody else wrote: what an HDF5 file with weights may hold.

It may hold plain arrays of numbers, stored in the file itself. HDF5 can refer to other files (external links, external
storage, virtual data sets), so that the bytes of any file of this machine would become weights, and can declare arrays
that no memory holds. Keras writes nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py

_RATIO_LIMIT = 200
_FREE_BYTES = 64 << 20
_OBJECT_LIMIT = 100_000
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf; HDF5 would load a library for any other."""


def require_plain_hdf5(file: h5py.File, *, name: str, size: int) -> None:
    """Refuse an HDF5 file with weights that reaches outside of itself or declares far more than it holds.

    The caller, who has opened the file, depends on h5py; core does not.

    Args:
        file: the open file.
        name: for messages.
        size: of the file in bytes.

    Raises:
        ConfigError: it has a link other than a hard one, data outside of the file, data that are not numbers, an
            unknown filter, or more declared data than `size` can hold.

    Example:
        >>> import h5py, io
        >>> with h5py.File(io.BytesIO(), "w") as file:
        ...     file["kernel"] = [1.0, 2.0]
        ...     require_plain_hdf5(file, name="model.h5", size=2048)
    """
    left = max(_FREE_BYTES, _RATIO_LIMIT * size)
    for place, item in _datasets(file, name):
        if item.external or item.is_virtual:
            raise ConfigError(f"{name}: '{place}' keeps its data in another file; refused")
        if item.dtype.kind not in "fiub":
            raise ConfigError(f"{name}: '{place}' holds {item.dtype}; expected numbers")
        settings = item.id.get_create_plist()
        filters = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())}
        if not filters <= _FILTERS:
            raise ConfigError(f"{name}: '{place}' is packed by the unknown filter {min(filters - _FILTERS)}; refused")
        left -= item.dtype.itemsize * _count(item.shape or ())
        if left < 0:
            raise ConfigError(
                f"{name}: '{place}' has the shape {item.shape}, far more than the {size:,} bytes of the file; refused"
            )


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= int(length)
    return count


def _datasets(file: h5py.File, name: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every data set once, although a group may contain itself."""
    import h5py

    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    seen = {h5py.h5o.get_info(file.id).addr}
    while waiting:
        prefix, group = waiting.pop()
        for key in group:
            place = f"{prefix}{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ConfigError(f"{name}: '{place}' is a link to {_target(link)}; refused")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _OBJECT_LIMIT:
                raise ConfigError(f"{name} holds more than {_OBJECT_LIMIT:,} objects; refused")
            if isinstance(item, h5py.Group):
                waiting.append((f"{place}/", item))
            elif isinstance(item, h5py.Dataset):
                yield place, item


def _target(link: object) -> str:
    file, path = getattr(link, "filename", ""), getattr(link, "path", "")
    return f"'{path}' in the file '{file}'" if file else f"'{path}'"

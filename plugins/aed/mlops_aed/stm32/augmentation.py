"""The section ``data_augmentation``, nested (v2 and newer) or flat (v1), converted to strengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_aed.stm32.draft import Draft

SECTION = "data_augmentation"
_MASKS = (
    ("frequency_mask", "freq_mask_param", 1),
    ("time_mask", "time_mask_param", 1),
    ("frequency_masks", "n_freq_mask", 3),
    ("time_masks", "n_time_mask", 4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """A key of this use case, its value, and the keys of the file that set it."""

    target: str
    value: Any
    names: tuple[str, ...] = ()
    note: str = ""


def strengths(draft: Draft) -> tuple[Strength, ...]:
    """Return a value for each strength; what the file does not ask for is off, whatever the defaults are."""
    own = {name.removeprefix(f"{SECTION}."): draft.value(name) for name in draft.names(f"{SECTION}.")}
    noise, has_noise = _part(own, "GaussianNoise", ("scale",))
    volume, has_volume = _part(own, "VolumeAugment", ("min_scale", "max_scale"))
    masks, has_masks = _part(own, "SpecAug", tuple(theirs for _, theirs, _ in _MASKS))
    _check_volume(draft, volume)
    flat = own.get("GaussianNoise")
    scale = flat if isinstance(flat, int | float) and not isinstance(flat, bool) else noise.get("scale")
    low, high = (volume.get("min_scale") or 1.0, volume.get("max_scale") or 1.0) if has_volume else (1.0, 1.0)
    return (
        Strength(target="mixup_alpha", value=0),
        Strength(target="time_shift", value=0),
        Strength(target="noise", value=(scale or 0.0) if has_noise else 0.0, names=_names("GaussianNoise", "scale")),
        Strength(target="volume", value=(low, high), names=_names("VolumeAugment", "min_scale", "max_scale")),
        *(
            Strength(
                target=ours,
                value=_or_default(masks.get(theirs), default) if has_masks else 0,
                names=_names("SpecAug", theirs),
                note="" if has_masks else "off",
            )
            for ours, theirs, default in _MASKS
        ),
    )


def _check_volume(draft: Draft, volume: Mapping[str, Any]) -> None:
    low, high = volume.get("min_scale"), volume.get("max_scale")
    if low is not None and high is not None and low > high:
        name = next(name for name in draft.names(f"{SECTION}.") if name.endswith("min_scale"))
        draft.refuse(name, f"is {low:g}; legal: at most max_scale, which is {high:g}")


def _part(own: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
    """Return the arguments of one kind of augmentation, and whether it is on."""
    is_on = bool(own.get(name, own.get(f"{name}.enable")))
    return {key: own.get(f"{name}.{key}", own.get(key)) for key in keys}, is_on


def _or_default(value: Any, default: int) -> Any:
    return default if value is None else value


def _names(part: str, *keys: str) -> tuple[str, ...]:
    inner = [f"{SECTION}.{part}.{key}" for key in keys]
    return (f"{SECTION}.{part}", f"{SECTION}.{part}.enable", *inner, *(f"{SECTION}.{key}" for key in keys))

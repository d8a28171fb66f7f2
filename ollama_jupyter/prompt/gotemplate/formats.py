"""Go's fmt.Sprintf: verbs, flags, widths; mistakes show in the text, as they do in Go."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ollama_jupyter.prompt.gotemplate.kinds import Printed, Record, Value, type_name
from ollama_jupyter.prompt.gotemplate.printing import shortest, show
from ollama_jupyter.prompt.gotemplate.quoting import quoted, quoted_rune

_LIMIT: Final = 1000  # of widths and precisions; fmt allows a million, which can fill the memory
_DIRECTIVE: Final = re.compile(r"%([+\-# 0]*)(\*|\d+)?(?:(\.)(\*|\d+)?)?(.?)", re.DOTALL)
_PREFIXES: Final = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}


@dataclass(frozen=True, slots=True)
class _Form:
    """How one value is to be printed; `width` 0 when it does not matter."""

    flags: str
    width: int
    precision: int | None

    def pad(self, text: str) -> str:
        """Spaces or zeros up to the width, in front unless the minus flag is set."""
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if "0" in self.flags else " ")

    def pad_number(self, sign: str, digits: str) -> str:
        """Zeros between sign and digits where the flags ask for them."""
        if "0" in self.flags and "-" not in self.flags:
            digits = digits.rjust(self.width - len(sign), "0")
        return self.pad(sign + digits)

    def sign(self, *, is_negative: bool) -> str:
        """What stands before a number."""
        if is_negative:
            return "-"
        return "+" if "+" in self.flags else " " if " " in self.flags else ""


def sprintf(template: str, values: Sequence[Value]) -> str:
    """Values put into a format."""
    rest = list(values)
    text = _DIRECTIVE.sub(lambda match: _directive(match, rest), template)
    if not rest:
        return text
    extra = ", ".join(
        "<nil>" if value is None else f"{type_name(value)}={show(value)}" for value in rest
    )
    return f"{text}%!(EXTRA {extra})"


def _directive(match: re.Match[str], rest: list[Value]) -> str:
    flags, verb, problem = match[1], match[5], ""
    width = _measure(match[2], rest) if match[2] else 0
    if width is None:
        width, problem = 0, "%!(BADWIDTH)"
    precision = _measure(match[4] or "0", rest) if match[3] else None
    if match[3] and (precision is None or precision < 0):
        precision, problem = None, problem + "%!(BADPREC)"
    if width < 0:
        flags, width = flags + "-", -width
    if not verb:
        return problem + "%!(NOVERB)"
    if verb == "%":
        return problem + "%"
    if not rest:
        return f"{problem}%!{verb}(MISSING)"
    return problem + _format(verb, rest.pop(0), _Form(flags, width, precision))


def _measure(text: str, rest: list[Value]) -> int | None:
    """A width or precision, None when it is none that fmt accepts."""
    if text != "*":
        return int(text) if len(text) <= 7 and int(text) <= _LIMIT else None
    value = rest.pop(0) if rest else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LIMIT:
        return value
    return None


def _format(verb: str, value: Value, form: _Form) -> str:
    """One value under one verb; the elements of a list or map each under it."""
    if verb == "T":
        return form.pad(type_name(value))
    if value is None:
        return form.pad("<nil>") if verb == "v" else f"%!{verb}(<nil>)"
    if isinstance(value, Printed) and verb in "vsqxX":
        value = value.text()
    if isinstance(value, bytes | tuple | list):
        return f"[{' '.join(_element(verb, item, form) for item in value)}]"
    if isinstance(value, Record):
        return f"{{{' '.join(_element(verb, item, form) for item in value.fields.values())}}}"
    if isinstance(value, dict):
        entries = ((key, value[key]) for key in sorted(value))
        texts = (
            f"{_element(verb, key, form)}:{_element(verb, item, form)}" for key, item in entries
        )
        return f"map[{' '.join(texts)}]"
    formatted = _scalar(verb, value, form)
    if formatted is None:
        return f"%!{verb}({type_name(value)}={_scalar('v', value, form)})"
    return formatted


def _element(verb: str, value: Value, form: _Form) -> str:
    return "<nil>" if value is None else _format(verb, value, form)


def _scalar(verb: str, value: Value, form: _Form) -> str | None:
    """None when the verb is not for this kind of value."""
    if isinstance(value, bool):
        return form.pad(show(value)) if verb in "tv" else None
    if isinstance(value, str):
        return _string(verb, value, form)
    if isinstance(value, int):
        return _integer(verb, value, form)
    return _float(verb, value, form) if isinstance(value, float) else None


def _string(verb: str, value: str, form: _Form) -> str | None:
    if verb in "sv":
        return form.pad(value[: form.precision])
    if verb == "q":
        return form.pad(quoted(value[: form.precision]))
    if verb in "xX":
        data = value.encode("utf-8", "replace")[: form.precision]
        digits = data.hex(" ") if " " in form.flags else data.hex()
        return form.pad(digits.upper() if verb == "X" else digits)
    return None


def _integer(verb: str, value: int, form: _Form) -> str | None:
    if verb in "cqU":
        return form.pad(_rune(verb, value))
    if verb not in "vdboxXO":
        return None
    digits = format(abs(value), {"v": "d", "O": "o"}.get(verb, verb))
    if form.precision is not None:
        digits = digits.rjust(form.precision, "0")
        form = _Form(form.flags.replace("0", ""), form.width, None)
    prefix = "0o" if verb == "O" else _PREFIXES.get(verb, "") if "#" in form.flags else ""
    return form.pad_number(form.sign(is_negative=value < 0) + prefix, digits)


def _rune(verb: str, value: int) -> str:
    if verb == "U":
        return f"U+{value:04X}"
    is_legal = 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000
    character = chr(value) if is_legal else "\ufffd"
    return character if verb == "c" else quoted_rune(character)


def _float(verb: str, value: float, form: _Form) -> str | None:
    if verb not in "veEfFgGxX":
        return None
    sign = form.sign(is_negative=math.copysign(1, value) < 0)
    size = abs(value)
    if not math.isfinite(size):
        spaced = _Form(form.flags.replace("0", ""), form.width, None)
        return spaced.pad("NaN" if math.isnan(size) else (sign or "+") + "Inf")
    if verb in "xX":
        digits = _hexadecimal(size)
        return form.pad_number(sign, digits.upper() if verb == "X" else digits)
    if verb in "vgG" and form.precision is None:
        digits = shortest(size)
        return form.pad_number(sign, digits.upper() if verb == "G" else digits)
    style = {"v": "g", "F": "f"}.get(verb, verb)
    precision = 6 if form.precision is None else form.precision
    return form.pad_number(sign, format(size, f".{precision}{style}"))


def _hexadecimal(size: float) -> str:
    mantissa, exponent = size.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if size else '0x0'}p{int(exponent):+03d}"

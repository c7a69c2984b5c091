"""One line of a file of lines: bytes to a row or to the fault that keeps it from being one."""

from bedside.data import encodings, strict_json
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import DataError

LONGEST = 1_000_000  # characters: a dialogue never is that long, a broken export often is


def parse(origin: Origin, raw: bytes, encoding: str = "utf-8") -> Row | Fault:
    """The row of one line (its end included or not), or its fault. Lines end in "\\n" only."""
    if encoding == "utf-8" and len(raw) <= LONGEST:
        try:
            return Row(origin, strict_json.loads(raw))
        except (UnicodeDecodeError, strict_json.JsonFault):
            pass  # told below, with the column that an editor shows
    try:
        text = raw.decode(encoding).strip("\r\n")
    except UnicodeDecodeError as error:
        other = _another(raw, encoding)
        return Fault(origin, "E_ENCODING", f"byte {error.start} is not {encoding.upper()}{other}")
    if len(text) > LONGEST:
        return Fault(origin, "W_LONG", f"line of {len(text)} characters, at most {LONGEST} are read")
    try:
        return Row(origin, strict_json.parse(text))
    except strict_json.JsonFault as fault:
        return Fault(origin, fault.code, fault.detail)


def refuse_another_encoding(sample: bytes, fault: Fault) -> None:
    """Raise DataError if the line's wrong bytes are no slip but those of a file (`sample`: its head) in GB18030."""
    if not encodings.mostly_utf8(sample) and encodings.is_gb18030(sample):
        hint = "it reads as Chinese in GB18030: add --encoding gb18030"
        raise DataError("E_ENCODING", str(fault.origin), f"{fault.detail.partition(';')[0]}; {hint}")


def _another(raw: bytes, encoding: str) -> str:
    """What a line of another encoding than its file's is, with a way to mend it; "" where that is not known."""
    for name in ("gb18030", "utf-8"):
        try:
            there = encodings.reads_as_chinese(raw.decode(name))
        except UnicodeDecodeError:
            continue
        if there:  # without the line's number, which may be that in a piece of the file
            mend = f"sed -n LINEp FILE | iconv -f {name} -t {encoding}"
            return f"; this line is {name.upper()}, so the file mixes encodings: write it anew, as {mend} does"
    return ""

"""What a hub holds, and which of it is fetched."""

from dataclasses import dataclass
from fnmatch import fnmatch

from bedside.errors import ConfigError

# Weights that Python unpickles: loading them can run code of whoever made them.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib")
# Weights of other frameworks, and the same weights once more.
_OTHER_FORMS = ("*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.gguf", "*.ot", "*.tflite", "*.mlmodel", "*.npz",
                "onnx/*", "openvino/*", "coreml/*", "original/*", "gguf/*", "metal/*")  # fmt: skip


@dataclass(frozen=True)
class File:
    """One file of a repository: bytes, and the hash that the hub tells (SHA-256, or git's blob id, or none)."""

    path: str
    size: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit (None where the hub does not tell it)."""

    name: str
    kind: str  # model or dataset
    source: str
    revision: str
    commit: str | None
    files: tuple[File, ...]


def _like(path: str, patterns: tuple[str, ...] | list[str]) -> bool:
    name = path.rsplit("/", 1)[-1]
    return any(fnmatch(path, pattern) or fnmatch(name, pattern) for pattern in patterns)


def choose(
    listing: Listing, include: list[str] | None, exclude: list[str] | None, pickled: bool
) -> tuple[list[File], list[File]]:
    """`(files to fetch, pickle files left out)`; patterns are of the shell's kind, on the path or the name alone.

    Without `include`, weights of other frameworks and second copies are left out. Raises ConfigError if nothing is
    left, or a model has pickled weights only.
    """
    outside = [file.path for file in listing.files if file.path.startswith("/") or ".." in file.path.split("/")]
    if outside:
        raise ConfigError(f"{listing.name}: names a file outside of its directory ({outside[0]}); nothing was fetched")
    files = [file for file in listing.files if not file.path.startswith(".git")]
    if include:
        files = [file for file in files if _like(file.path, include)]
    elif listing.kind == "model":
        files = [file for file in files if not _like(file.path, _OTHER_FORMS)]
        names = {file.path for file in files}
        if any(fnmatch(name, "model*.safetensors") for name in names):
            files = [file for file in files if not fnmatch(file.path, "consolidated*.safetensors")]
    files = [file for file in files if not _like(file.path, exclude or [])]
    left = [] if pickled else [file for file in files if is_pickled(file)]
    files = [file for file in files if file not in left]
    safe = any(file.path.endswith(".safetensors") for file in files)
    if left and not safe and listing.kind == "model" and not include:
        raise ConfigError(
            f"{listing.name}: its weights are pickle files only ({left[0].path}), which can run code when they are "
            "loaded, and bedside loads safetensors only; look for a safetensors copy, or fetch them with --pickle True"
        )
    if not files:
        seen = ", ".join(file.path for file in listing.files[:6]) or "nothing"
        raise ConfigError(f"{listing.name}: no file is left to fetch; it holds {seen}")
    return files, left


def is_pickled(file: File) -> bool:
    """True for weights that Python unpickles."""
    return _like(file.path, PICKLED)


def size_of(files: list[File]) -> int:
    """Bytes in all."""
    return sum(file.size for file in files)


def gigabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"

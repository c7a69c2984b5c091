"""Which weights are these? Hashes of files and of whole model directories."""

import hashlib
from pathlib import Path

_BLOCKS, _BLOCK = 64, 4096  # sampled blocks a weight file, and their bytes
_SMALL = 64 << 20  # a weight file up to this many bytes is fingerprinted whole


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weight_files(directory: Path | str) -> list[Path]:
    """The safetensors that are the model: an adapter's if there is one, else a full model's."""
    directory = Path(directory)
    return sorted(directory.glob("adapter_model*.safetensors")) or sorted(directory.glob("model*.safetensors"))


def identity(directory: Path | str) -> str:
    """`s1:` + SHA-256 over names and contents of the weight files."""
    return identity_of({path.name: file_sha256(path) for path in weight_files(directory)})


def identity_of(hashes: dict[str, str]) -> str:
    """`s1:` + SHA-256 over the names of files and their hashes, `{name: sha256}` in order of their names."""
    names = "".join(f"{name}{sha}" for name, sha in hashes.items())
    return "s1:" + hashlib.sha256(names.encode()).hexdigest()[:32]


def fingerprint(directory: Path | str) -> str:
    """`q2:` + SHA-256 over names, sizes and contents of the weight files: whole up to 64 MB, above that the header and
    64 sampled blocks, which takes the same short time for any size."""
    digest = hashlib.sha256()
    for path in weight_files(directory):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        if size <= _SMALL:
            digest.update(path.read_bytes())
            continue
        with open(path, "rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
            digest.update(stream.read(min(header, 1 << 26)))
            for block in range(_BLOCKS):
                stream.seek(max(0, min(size - _BLOCK, 8 + header + (size - header) * block // _BLOCKS)))
                digest.update(stream.read(_BLOCK))
    return "q2:" + digest.hexdigest()[:32]


def hub_directory(name: str, revision: str = "main") -> Path | None:
    """Where a hub model lies in the local cache, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, ValueError):
        return None

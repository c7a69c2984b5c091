"""`lineage.json`: where a model directory came from, what a loader must load, and proof that it is still the same.

`load` is all a loader reads. `parents` is history and is never applied: that rule is what keeps an adapter from
being applied twice. The file is written last, by os.replace, so a directory that has it is complete.

`record` writes and reads it, `sections` describes tokenizer and template, `resolve` finds what a name means and
refuses what would lose a training. `python -m bedside.lineage` shows a chain (`view`) and verifies it (`verify`).
"""

from bedside.errors import LineageError
from bedside.fingerprints import file_sha256, fingerprint, hub_directory, identity, weight_files
from bedside.lineage.guards import (
    changes_base,
    check_copyable,
    check_not_inside,
    check_quantisable,
    check_tokenizer,
    differences,
)
from bedside.lineage.record import NAME, base_record, damage, damages, parents_of, read, versions, write
from bedside.lineage.resolve import Resolved, is_adapter, resolve
from bedside.lineage.sections import template_record, tokenizer_record

__all__ = [
    "NAME", "LineageError", "Resolved", "base_record", "changes_base", "check_copyable", "check_not_inside",
    "check_quantisable", "check_tokenizer", "damage", "damages", "differences", "file_sha256", "fingerprint",
    "hub_directory", "identity", "is_adapter", "parents_of", "read", "resolve", "template_record",
    "tokenizer_record", "versions", "weight_files", "write",
]  # fmt: skip

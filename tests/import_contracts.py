"""A contract for import-linter: a room imports what its row of the table in pyproject.toml says, and nothing else.

import-linter's own contracts name what is forbidden. A room that may import three things is said better by naming them.
"""

import sys
from collections.abc import Collection, Iterable
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.helpers import module_expressions_to_modules
from importlinter.domain.imports import ModuleExpression

IMPURE = frozenset(
    [
        "_thread",
        "asyncio",
        "concurrent",
        "contextvars",
        "fcntl",
        "ftplib",
        "glob",
        "http",
        "imaplib",
        "io",
        "logging",
        "mmap",
        "multiprocessing",
        "os",
        "poplib",
        "pty",
        "random",
        "resource",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "smtplib",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "syslog",
        "tempfile",
        "termios",
        "threading",
        "time",
        "tty",
        "uuid",
        "webbrowser",
    ]
)
"""What a pure room never imports of the standard library: input and output, concurrency, clocks, chance, logging.

`socket` is judged by a contract of its own: its address conversions are pure, and the fastest there are.
"""


class OnlyContract(Contract):
    """The source modules, with all below them, import directly nothing but each other and the allowed modules.

    - source_modules: whose imports are judged.
    - allowed_modules: ours and those of other distributions, each with all below it. The standard library and the root
      package's own `__init__` (the version) are allowed.
    - but_not: modules that are not allowed although one above them is, or although they are the standard library's.
    - as_packages: whether the source modules stand for all below them too (default: true).
    - pure: also nothing of the standard library that has to do with the world outside (`IMPURE`).
    """

    type_name = "only"

    source_modules = fields.SetField(subfield=fields.ModuleExpressionField())
    allowed_modules = fields.SetField(subfield=fields.StringField(), required=False)
    but_not = fields.SetField(subfield=fields.StringField(), required=False)
    as_packages = fields.BooleanField(required=False, default=True)
    pure = fields.BooleanField(required=False, default=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001 - import-linter's signature
        """Find every direct import that the contract does not allow."""
        # import-linter puts the configured values in the place of the fields.
        expressions = cast("Iterable[ModuleExpression]", self.source_modules)
        as_packages = cast("bool", self.as_packages)
        allowed = cast("Collection[str] | None", self.allowed_modules) or ()
        refused = {*(cast("Collection[str] | None", self.but_not) or ()), *(IMPURE if cast("bool", self.pure) else ())}

        sources = {module.name for module in module_expressions_to_modules(graph, expressions, as_packages=as_packages)}
        broken = [
            (importer, imported, _lines(graph, importer, imported))
            for importer in sorted(sources)
            for imported in sorted(graph.find_modules_directly_imported_by(importer) - sources)
            if _is_within(imported, refused)
            or not (_is_standard(imported) or _is_within(imported, allowed) or imported == importer.partition(".")[0])
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import with its lines."""
        for importer, imported, lines in check.metadata["broken"]:
            output.print_error(f"{importer} imports {imported} (line {', '.join(map(str, lines))})", bold=False)


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _lines(graph: ImportGraph, importer: str, imported: str) -> list[int]:
    return [detail["line_number"] for detail in graph.get_import_details(importer=importer, imported=imported)]


def _is_within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)

"""The contract that lists what a room may import."""

from typing import Any

import grimp
import pytest

from import_contracts import OnlyContract


def broken(imports: dict[str, list[str]], **options: Any) -> set[tuple[str, str]]:  # noqa: ANN401 - import-linter's own
    """Check `house.room` in a tree with these imports; gives those that the contract names."""
    graph = grimp.ImportGraph()
    for importer, importeds in imports.items():
        for line, imported in enumerate(importeds, 1):
            for module in (importer, imported):
                if module not in graph.modules:
                    graph.add_module(module)
            graph.add_import(importer=importer, imported=imported, line_number=line, line_contents=f"import {imported}")
    contract = OnlyContract(
        name="room",
        session_options={"root_packages": ["house"]},
        contract_options={"source_modules": ["house.room"], **options},
    )
    found = contract.check(graph, verbose=False).metadata["broken"]
    return {(importer, imported) for importer, imported, _ in found}


def test_a_room_imports_what_its_contract_lists_and_the_standard_library() -> None:
    imports = {"house.room": ["house.hall.door", "json", "numpy", "house"], "house.room.shelf": ["house.room"]}
    assert not broken(imports, allowed_modules=["house.hall", "numpy"])


def test_an_import_of_another_room_is_named_with_the_module_that_makes_it() -> None:
    imports = {"house.room": ["house.hall"], "house.room.shelf": ["house.cellar.wine", "aiohttp"]}
    assert broken(imports, allowed_modules=["house.hall"]) == {
        ("house.room.shelf", "house.cellar.wine"),
        ("house.room.shelf", "aiohttp"),
    }


def test_a_name_that_only_begins_like_an_allowed_one_is_not_allowed() -> None:
    assert broken({"house.room": ["house.hallway"]}, allowed_modules=["house.hall"]) == {
        ("house.room", "house.hallway")
    }


def test_a_module_can_be_kept_out_of_an_allowed_room() -> None:
    imports = {"house.room": ["house.hall", "house.hall.door"]}
    found = broken(imports, allowed_modules=["house.hall"], but_not=["house.hall.door"])
    assert found == {("house.room", "house.hall.door")}


@pytest.mark.parametrize("module", ["asyncio", "os", "time", "random", "logging"])
def test_a_pure_room_imports_nothing_of_the_world_outside(module: str) -> None:
    imports = {"house.room": [module, "dataclasses"]}
    assert not broken(imports)
    assert broken(imports, pure="true") == {("house.room", module)}


def test_a_contract_can_be_about_one_module_without_those_below_it() -> None:
    imports = {"house.room": ["json"], "house.room.shelf": ["numpy"]}
    assert broken(imports) == {("house.room.shelf", "numpy")}
    assert not broken(imports, as_packages="false")

"""Which primitives Ascend has a kernel for: asked of the Ascend plugin in the installed MindSpore, without a device.

    python benchmarks/ascend_kernels.py

MindSpore's wheel holds its Ascend back end, but not the libraries of CANN that this needs. Here they are replaced by
empty ones, just so that the plugin loads and fills its registers; then the functions are called by which it selects
kernels itself. Needs a C compiler and binutils, on x86-64. The answer is kept in ascend_kernels.json for all others.

The order is MindSpore's (SelectKernelInfoWithMsg in kernel_select_ascend.cc): a kernel of aclnn, which is CANN's newer
interface; else HCCL for what all devices do together; else an operator of CANN by its name. For the latter CANN decides
where it runs: on the AI cores, or on the slow processor beside them (AICPU). The wheel does not say so. It lists what
the AICPU can do (`aicpu`), which includes much that the AI cores do as well.
"""

from __future__ import annotations

import ctypes
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import textwrap
from importlib import import_module, metadata, util
from pathlib import Path
from types import ModuleType

ANSWER = Path(__file__).with_suffix(".json")
PLUGIN, KERNELS = "plugin/libmindspore_ascend.so.2", "plugin/libmindspore_ops_ascend.so"
RESOURCES = "plugin/ascend/libmindspore_ascend_res_manager.so"
ABSENT = ("hccl", "d_collective", "ge_runner", "graph", "msprofiler", "shmem")
"""CANN's libraries; and two of MindSpore's, which are about communication and expect a device."""
REGISTERED = "_ZN9mindspore6kernel19IsRegisteredAclnnOpERKSs"
DISPATCHED = "_ZN9mindspore6kernel22IsEnabledAclnnDispatchERKSs"
ADAPTER = "_ZN9mindspore6device6ascend11FindAdapterERKSsb"
STATUS = "_ZN2ge13StatusFactory8InstanceEv"
SYSTEM = ("Py", "_Py", "_ITM", "__", "dl", "_ZNSs", "_ZNKSs", "_ZSt", "_ZNSt", "_ZNKSt")
"""What is there without its version, or is Python's own."""
STATUS_CODE = """
static struct { long compare, colour; void *parent, *left, *right; long count; } map;
void *%s(void) { if (!map.left) map.left = map.right = &map.colour; return &map; }
"""
"""The one function that the plugin calls while it loads: it wants a std::map to write names of errors into."""


def libraries() -> Path:
    spec = util.find_spec("mindspore")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "lib"


def kept() -> dict[str, set[str]]:
    """aclnn, cann, aicpu → names of primitives. Raises ValueError if it was asked of another MindSpore."""
    answer = json.loads(ANSWER.read_text(encoding="utf-8"))
    installed = metadata.version("mindspore")
    if answer.pop("mindspore") != installed:
        raise ValueError(f"{ANSWER.name} is not of MindSpore {installed}: run benchmarks/ascend_kernels.py")
    return {kind: set(" ".join(lines).split()) for kind, lines in answer.items()}


def ask(names: set[str]) -> dict[str, set[str]]:
    """As `kept`, of these names. In a process of its own: the plugin is not meant to be loaded beside another."""
    with tempfile.TemporaryDirectory() as folder:
        cann = Path(folder) / "cann/x86_64-linux/lib64"
        cann.mkdir(parents=True)
        stand_in(cann / "libascendcl.so", missing())
        for name in ABSENT:
            stand_in(cann / f"lib{name}.so", set())
        lib = libraries()
        path = ":".join(str(lib / part) for part in ("plugin/ascend", "plugin", "."))
        done = subprocess.run(
            [sys.executable, __file__, str(cann)],
            input=" ".join(sorted(names)),
            env=os.environ | {"LD_LIBRARY_PATH": path, "GLOG_v": "4"},
            stdout=subprocess.PIPE,
            check=True,
            encoding="utf-8",
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return {"aclnn": set(found["aclnn"]), "cann": set(found["cann"]), "aicpu": aicpu() & names}


def missing() -> set[str]:
    """What the plugin wants of the libraries that are replaced."""
    lib = libraries()
    plugin = [lib / PLUGIN, lib / KERNELS, lib / RESOURCES]
    wanted = set().union(*(symbols(file, "--undefined-only") for file in plugin))
    # With its version: what the system's libraries have.
    wanted = {name for name in wanted if "@" not in name}
    loaded = [*plugin, *lib.glob("*.so*"), *lib.parent.glob("_c_expression*.so")]
    had = set().union(*(symbols(file, "--defined-only") for file in loaded))
    return {name for name in wanted - had if not name.startswith(SYSTEM)}


def symbols(file: Path, which: str) -> set[str]:
    listed = subprocess.run(["nm", "-D", which, file], capture_output=True, check=True, encoding="utf-8")
    return {line.split()[-1] for line in listed.stdout.splitlines()}


def stand_in(file: Path, wanted: set[str]) -> None:
    """A library that has these functions and variables; each function returns 0."""
    lines = []
    for name in sorted(wanted):
        if name == STATUS:
            lines.append(STATUS_CODE % name)
        elif name.startswith("_ZT"):
            lines.append(f"void *{name}[64];")
        else:
            lines.append(f"long {name}(void) {{ return 0; }}")
    source = file.with_suffix(".c")
    source.write_text("\n".join(lines), encoding="utf-8")
    options = ["-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{file.name}"]
    subprocess.run(["cc", *options, "-o", file, source], check=True)


class Text:
    """A std::string as MindSpore's libraries are built: a pointer behind its length, capacity and count of users."""

    def __init__(self, text: str) -> None:
        content = text.encode()
        header = len(content).to_bytes(8, "little") * 2 + (1).to_bytes(8, "little")
        self.memory = ctypes.create_string_buffer(header + content)
        self.pointer = ctypes.c_void_p(ctypes.addressof(self.memory) + len(header))

    def reference(self) -> object:
        return ctypes.byref(self.pointer)


def answer(cann: Path, names: list[str]) -> dict[str, list[str]]:
    """Load the plugin and ask it. Only for a process that ends afterwards."""
    import mindspore  # noqa: F401  what the plugin is linked against

    lib, everywhere = libraries(), ctypes.RTLD_GLOBAL
    for file in sorted(cann.glob("*.so")):
        ctypes.CDLL(str(file), mode=everywhere)
    ctypes.CDLL(str(lib / "libmindspore_cluster.so"), mode=everywhere)
    ctypes.CDLL(str(lib / PLUGIN), mode=everywhere)
    kernels, resources = ctypes.CDLL(str(lib / KERNELS)), ctypes.CDLL(str(lib / RESOURCES))
    found: dict[str, list[str]] = {"aclnn": [], "cann": []}
    for name in names:
        text = Text(name)
        says = []
        for question in (REGISTERED, DISPATCHED):
            function = kernels[question]
            function.restype = ctypes.c_bool
            says.append(function(text.reference()))
        # A std::shared_ptr, which is returned at an address that the caller gives.
        adapter = (ctypes.c_void_p * 2)()
        resources[ADAPTER](adapter, text.reference(), ctypes.c_bool(True))
        if all(says):
            found["aclnn"].append(name)
        if adapter[0]:
            found["cann"].append(name)
    return found


def aicpu() -> set[str]:
    """What the wheel registers for the AICPU."""
    folder = libraries().parent / "ops/_op_impl/aicpu"
    registered = re.compile(r"AiCPURegOp\([\"'](\w+)[\"']")
    texts = (file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    return {name for text in texts for name in registered.findall(text)}


def all_names() -> set[str]:
    """Every primitive that MindSpore's Python code names."""
    from mindspore import ops
    from mindspore.ops import auto_generate, operations

    names = aicpu()
    modules = [ops, *submodules(operations), *submodules(auto_generate)]
    for module in modules:
        for name, found in vars(module).items():
            if isinstance(found, type) and issubclass(found, ops.Primitive):
                names.add(name)
    return names


def submodules(package: ModuleType) -> list[ModuleType]:
    """A package and what it consists of."""
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [package, *(import_module(f"{package.__name__}.{name}") for name in names)]


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(answer(Path(sys.argv[1]), sys.stdin.read().split())))
        return
    found = ask(all_names())
    content: dict[str, object] = {"mindspore": metadata.version("mindspore")}
    for kind, names in found.items():
        content[kind] = textwrap.wrap(" ".join(sorted(names)), 110, break_on_hyphens=False)
        print(f"{kind}: {len(names)} primitives")
    ANSWER.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

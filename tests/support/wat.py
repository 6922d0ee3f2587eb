"""WASI programs for tests, written as WebAssembly text by a small builder."""

from dataclasses import dataclass, field

import wasmtime

_IMPORTS = """
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open"
  (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
"""

READ, WRITE, CREATE = 2, 64, 1
"""Rights fd_read and fd_write, and the open flag `creat`."""


def quoted(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:02x}" for byte in data) + '"'


@dataclass
class Program:
    """Steps of `_start`, one after another. Addresses below 64 are scratch space."""

    data: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    free: int = 64

    def _place(self, content: bytes) -> int:
        address = self.free
        self.data.append(f"(data (i32.const {address}) {quoted(content)})")
        self.free += (len(content) + 15) // 8 * 8
        return address

    def _vector(self, content: bytes) -> int:
        address = self._place(content)
        return self._place(address.to_bytes(4, "little") + len(content).to_bytes(4, "little"))

    def print(self, text: str, descriptor: int = 1, times: int = 1) -> "Program":
        vector = self._vector(text.encode())
        write = f"(drop (call $fd_write (i32.const {descriptor}) (i32.const {vector}) (i32.const 1) (i32.const 0)))"
        if times == 1:
            return self.step(write)
        return self.step(
            f"(global.set $n (i32.const {times})) (loop $l {write}"
            " (global.set $n (i32.sub (global.get $n) (i32.const 1)))"
            " (br_if $l (global.get $n)))"
        )

    def sleep(self, seconds: float) -> "Program":
        clock = bytearray(48)
        clock[16:20] = (1).to_bytes(4, "little")
        clock[24:32] = int(seconds * 1e9).to_bytes(8, "little")
        address = self._place(bytes(clock))
        event = self._place(bytes(32))
        return self.step(
            f"(drop (call $poll_oneoff (i32.const {address}) (i32.const {event}) (i32.const 1) (i32.const 0)))"
        )

    def spin(self) -> "Program":
        return self.step("(loop $spin (br $spin))")

    def open(self, folder: int, path: str, rights: int, flags: int = 0) -> "Program":
        """Open below a preopened folder (3, 4, ...) and end with the error number as exit code when refused."""
        address = self._place(path.encode())
        return self.step(
            f"(global.set $n (call $path_open (i32.const {folder}) (i32.const 1) (i32.const {address})"
            f" (i32.const {len(path.encode())}) (i32.const {flags}) (i64.const {rights}) (i64.const 0)"
            " (i32.const 0) (i32.const 8)))"
            " (if (global.get $n) (then (call $proc_exit (global.get $n))))"
        )

    def write(self, folder: int, path: str, text: str) -> "Program":
        self.open(folder, path, WRITE, CREATE)
        vector = self._vector(text.encode())
        return self.step(
            f"(drop (call $fd_write (i32.load (i32.const 8)) (i32.const {vector}) (i32.const 1) (i32.const 0)))"
        )

    def symlink(self, folder: int, target: str, path: str) -> "Program":
        old, new = self._place(target.encode()), self._place(path.encode())
        return self.step(
            f"(global.set $n (call $path_symlink (i32.const {old}) (i32.const {len(target)}) (i32.const {folder})"
            f" (i32.const {new}) (i32.const {len(path)})))"
            " (if (global.get $n) (then (call $proc_exit (global.get $n))))"
        )

    def exit(self, code: int) -> "Program":
        return self.step(f"(call $proc_exit (i32.const {code}))")

    def step(self, text: str) -> "Program":
        self.steps.append(text)
        return self

    def wat(self, entry: str = "_start") -> str:
        body, data = "\n".join(self.steps), "\n".join(self.data)
        pages = self.free // 65536 + 1
        return (
            f'(module {_IMPORTS} (memory (export "memory") {pages}) (global $n (mut i32) (i32.const 0))'
            f' {data} (func (export "{entry}") {body}))'
        )

    def wasm(self, entry: str = "_start") -> bytes:
        return bytes(wasmtime.wat2wasm(self.wat(entry)))

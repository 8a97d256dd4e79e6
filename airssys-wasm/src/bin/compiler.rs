//! `airssys-wasm-compiler`: a program that is nothing but the child of a host that compiles aside.
//!
//! For hosts that do not want to be started again themselves: it is named in `CompilerProcess::new`, without arguments.

use std::process::ExitCode;

fn main() -> ExitCode {
    airssys_wasm::serve_compiler()
}

//! The server binary. Under the name `gearmand` it is the same.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gearshard::server::start::main(std::env::args_os(), &|name| std::env::var_os(name))
}

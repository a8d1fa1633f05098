//! Instructions of the core's works, as released, counted by valgrind:
//! `cargo bench --bench instructions`.
//!
//! Where they go is shown by `callgrind_annotate` on the file that is named at
//! the end of each line. The budgets that must hold are those of the tests'
//! profile: `cargo test --profile checked --test budgets`.

mod callgrind;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod mesh;
mod works;

use std::process::ExitCode;

use callgrind::Callgrind;
use works::WORKS;

fn main() -> ExitCode {
    if callgrind::is_counted(&WORKS) {
        return ExitCode::SUCCESS;
    }
    let counted = Callgrind::any().and_then(|callgrind| {
        for work in &WORKS {
            let count = callgrind.count(work)?;
            eprintln!("{:34} {count:6} instructions  {}", work.name, callgrind.report(work).display());
        }
        Ok(())
    });
    if let Err(problem) = counted {
        eprintln!("{problem}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

//! Instructions a job in the core, counted by valgrind:
//! `cargo bench --bench instructions`.
//!
//! Counts hardly differ from run to run or from machine to machine. Each work
//! is done twice, with few jobs and with many, and the difference is divided,
//! so that starting up does not count. Where they go is shown by
//! `callgrind_annotate` on the file that is named at the end of each line.

#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod mesh;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use mesh::Mesh;

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

/// What is counted, and how so many jobs of it are done.
type Work = (&'static str, fn(u64));

const WORKS: [Work; 4] = [
    ("foreground-job", |jobs| {
        let mut mesh = Mesh::new(1);
        (0..jobs).for_each(|_| mesh.foreground_job());
    }),
    ("foreground-job-across-two-shards", |jobs| {
        let mut mesh = Mesh::new(2);
        (0..jobs).for_each(|_| mesh.foreground_job());
    }),
    ("enqueue", |jobs| {
        let mut mesh = Mesh::new(1);
        (0..jobs).for_each(|_| mesh.enqueue());
        std::mem::forget(mesh);
    }),
    ("enqueue-and-drain", |jobs| {
        let mut mesh = Mesh::new(1);
        (0..jobs).for_each(|_| mesh.enqueue());
        (0..jobs).for_each(|_| mesh.run_one());
    }),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, name, jobs] = &args[..]
        && let Some((_, work)) = WORKS.iter().find(|(known, _)| known == name)
    {
        work(jobs.parse().expect("the count comes from `count` below"));
        return ExitCode::SUCCESS;
    }
    for (name, _) in WORKS {
        match count(name, FEW).and_then(|few| Ok((few, count(name, MANY)?))) {
            Ok((few, many)) => {
                let each = (many - few) / (MANY - FEW);
                eprintln!("{name:34} {each:6} instructions a job  {}", output(name));
            }
            Err(problem) => {
                eprintln!("{name}: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn output(name: &str) -> String {
    let directory = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    Path::new(&directory).join(format!("callgrind.{name}")).display().to_string()
}

/// Runs this program under callgrind and reads how many instructions it took.
fn count(name: &str, jobs: u64) -> Result<u64, String> {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", output(name))])
        .arg(itself)
        .args([name, &jobs.to_string()])
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind cannot be run: {error}; apt-get install valgrind"))?;
    if !status.success() {
        return Err(format!("valgrind ended with {status}"));
    }
    let text = std::fs::read_to_string(output(name)).map_err(|error| error.to_string())?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| "callgrind wrote no total".to_owned())
}

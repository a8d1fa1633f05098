//! The features of the `gearman` tool as a client.

use crate::languages::tool;
use crate::support::process::{Finished, TempDir};
use crate::support::{Process, Server, wait_until};

// What the tool prints of `pieces`.
const STREAM: (&str, &str) = ("one,two,three50% Complete\n", "careful");

fn run(server: &Server, args: &[&str], input: &[u8]) -> Finished {
    let mut command = tool(server);
    command.args(args);
    Process::run(command, input)
}

fn reversed(server: &Server, args: &[&str], workload: &[u8]) {
    let result = run(server, &[&["-f", "reverse"], args].concat(), workload).success();
    assert!(result.stdout.iter().eq(workload.iter().rev()), "{} bytes reversed", workload.len());
}

// The handle of a background job.
fn handle(server: &Server, args: &[&str]) -> String {
    let said = run(server, &[&["-b", "-v", "-f"], args].concat(), b"").success().text();
    said.strip_prefix("Task created: ").unwrap_or_else(|| panic!("no handle in {said:?}")).to_owned()
}

fn coalesced(server: &Server, unique: &str, [first, second]: [&str; 2]) {
    let queued = |function, workload| handle(server, &[function, "-u", unique, workload]);
    let job = queued("queued", first);
    assert_eq!(queued("queued", second), job, "one job");
    assert_ne!(queued("queued too", first), job, "another function, another job");
}

/// Tries one feature, and panics when it does not work.
pub(crate) fn feature(name: &str, server: &Server) {
    let dir = TempDir::new();
    let file = dir.path().join(name);
    let path = file.to_str().unwrap();
    match name {
        "queue" => {
            for turn in ["1", "2"] {
                let job = |name: &str, option: &[&str]| {
                    let text = format!("{name} {turn}");
                    run(server, &[&["-b", "-f", "record"], option, &[&*text]].concat(), b"").success();
                };
                job("low", &["-L"]);
                job("normal", &[]);
                job("high", &["-I"]);
            }
        }
        "foreground" => reversed(server, &[], b"Hello World!"),
        "urgency" => ["-I", "-L"].into_iter().for_each(|priority| reversed(server, &[priority], b"a job")),
        "binary" => reversed(server, &[], &(0..=u8::MAX).collect::<Vec<u8>>()),
        "empty" => reversed(server, &[], b""),
        "large" => {
            reversed(server, &[], &(0..1u32 << 20).map(|i| (i * 31 + i / 251) as u8).collect::<Vec<u8>>())
        }
        "stream" => {
            let result = run(server, &["-f", "pieces", "x"], b"").success();
            assert_eq!((result.text().as_str(), result.stderr.as_str()), STREAM);
        }
        "failure" | "unasked_exception" => {
            let function = if name == "failure" { "fails" } else { "throws" };
            let failed = run(server, &["-f", function, "x"], b"");
            assert_eq!((failed.status.code(), failed.stderr.as_str()), (Some(1), "Job failed\n"));
        }
        "unique" => {
            assert_eq!(run(server, &["-f", "unique_of", "-u", "mine", "x"], b"").success().text(), "mine");
        }
        "background" => {
            run(server, &["-b", "-f", "touch", path], b"").success();
            wait_until("the job runs", || file.exists());
        }
        "coalescing" => coalesced(server, "same", ["one", "two"]),
        "workload_coalescing" => coalesced(server, "-", ["one workload", "one workload"]),
        "client_timeout" => {
            let waited = run(server, &["-f", "served by nobody", "-t", "200", "x"], b"");
            assert!(waited.stderr.contains("GEARMAN_TIMEOUT"), "{}", waited.stderr);
        }
        "takes_back" => {
            assert_eq!(run(server, &["-f", "guarded", path], b"").success().text(), "second");
        }
        _ => panic!("no feature {name}"),
    }
}

//! Two servers, one killed: clients and workers go on with the other.

use crate::languages::Language::{self, C, Perl, Php, Python};
use crate::support::{DEADLINE, Process, Server, wait_until};

const JOBS: u32 = 60;
const KILL_AFTER: u32 = 10;

// Line `number` of a client's output, when all went well.
fn line(number: u32) -> String {
    let reversed: String = number.to_string().chars().rev().collect();
    format!("{number} -> {reversed}\n")
}

fn survives(language: Language, start: impl Fn() -> Server) {
    let mut first = start();
    let second = start();
    let servers = format!("{},{}", first.address(), second.address());
    let worker = Process::start(language.command("worker", &servers, &[language.name()]), b"");
    wait_until("the worker is at both servers", || {
        [&first, &second].iter().all(|server| server.counts("reverse").2 == 1)
    });
    let mut client = Process::start(language.command("loop", &servers, &["reverse", &JOBS.to_string()]), b"");
    client.wait_for_output(&line(KILL_AFTER));
    first.kill();
    let status = client.wait(3 * DEADLINE);
    let expected: String = (1..=JOBS).map(line).collect();
    assert!(status.success(), "{status}\n{}{}", client.stderr(), worker.stderr());
    assert_eq!(client.stdout(), expected, "{}", client.stderr());
    wait_until("the worker still serves", || second.counts("reverse") == (0, 0, 1));
}

macro_rules! goes_on_with_the_other_server {
    ($($name:ident: $language:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn gearshard() {
                survives($language, || crate::gearshard(2));
            }

            #[test]
            fn gearmand() {
                survives($language, || Server::gearmand(&[]));
            }
        }
    )*};
}

goes_on_with_the_other_server! {
    libgearman_goes_on: C;
    php_goes_on: Php;
    perl_goes_on: Perl;
    python_gear_goes_on: Python;
}

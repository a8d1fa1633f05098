//! A client in one language, a worker in another: payloads pass unharmed.

use crate::against_both;
use crate::languages::Language::{self, C, Perl, Php, Python, Tool};
use crate::support::process::TempDir;
use crate::support::{DEADLINE, Kind, Process, Server, wait_until};

fn payloads() -> [Vec<u8>; 4] {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let large = (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    [b"Hello World!".to_vec(), every_byte, Vec::new(), large]
}

fn pair(client: Language, worker: Language, server: &Server) {
    let _worker = worker.worker(server);
    for payload in payloads() {
        // php-gearman refuses to send an empty workload. gearmand closes on the empty result as
        // Perl's worker encodes it, and requeues for ever.
        let impossible = client == Php || (worker == Perl && server.kind() == Kind::Gearmand);
        if payload.is_empty() && impossible {
            continue;
        }
        let result = Process::run(client.client(server, "reverse"), &payload).success();
        let expected: Vec<u8> = payload.iter().rev().copied().collect();
        assert!(
            result.stdout == expected,
            "{} bytes from {client:?} to {worker:?} came back as {} bytes: {}",
            payload.len(),
            result.stdout.len(),
            result.stderr
        );
    }
    assert_eq!(server.counts("reverse"), (0, 0, 1));
}

// Workers of all libraries compete for the jobs of clients of all libraries.
fn all_at_once(server: &Server) {
    const JOBS: u32 = 30;
    let languages = [C, Php, Perl, Python];
    let _workers = languages.map(|language| language.worker(server));
    let address = server.address().to_string();
    let mut clients = languages.map(|language| {
        Process::start(language.command("loop", &address, &["reverse", &JOBS.to_string()]), b"")
    });
    let expected: String = (1..=JOBS)
        .map(|job| format!("{job} -> {}\n", job.to_string().chars().rev().collect::<String>()))
        .collect();
    for (client, language) in clients.iter_mut().zip(languages) {
        assert!(client.wait(3 * DEADLINE).success(), "{language:?}: {}", client.stderr());
        assert_eq!(client.stdout(), expected, "{language:?}: {}", client.stderr());
    }
    assert_eq!(server.counts("reverse"), (0, 0, 4));
}

// The job of a killed worker goes to a worker in another language.
fn takes_over(server: &Server) {
    let mut first = Perl.worker(server);
    let dir = TempDir::new();
    let file = dir.path().join("release");
    let path = file.to_str().unwrap().as_bytes();
    let mut client = Process::start(C.client(server, "until_file"), path);
    wait_until("the job runs", || server.counts("until_file") == (1, 1, 1));
    let _second = Php.worker(server);
    first.kill();
    wait_until("the job runs again", || server.counts("until_file") == (1, 1, 1));
    assert_eq!(client.exit_status(), None, "the client waits on");
    std::fs::write(&file, b"").unwrap();
    assert!(client.wait(DEADLINE).success(), "{}", client.stderr());
    assert_eq!(client.stdout(), "done");
}

against_both! {
    tool_to_c => |server| pair(Tool, C, server);
    c_to_php => |server| pair(C, Php, server);
    php_to_perl => |server| pair(Php, Perl, server);
    perl_to_python => |server| pair(Perl, Python, server);
    python_to_tool => |server| pair(Python, Tool, server);
    php_to_python => |server| pair(Php, Python, server);
    python_to_c => |server| pair(Python, C, server);
    c_to_perl => |server| pair(C, Perl, server);
    every_language_at_once => all_at_once;
    another_language_takes_over => takes_over;
}

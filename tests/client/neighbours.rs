//! Our worker serves the clients of other libraries, and theirs serve our client.

use crate::languages::Language::{self, C, Perl, Php, Python, Tool};
use crate::support::{Kind, Process, Server, wait_until};
use crate::{against_both, client, worker};
use gearshard::client::{Client, ClientError, Job, JobError, MapReduce, Update, Worker};
use std::path::Path;
use std::time::Duration;

/// A worker that does what the workers of `tests/clients` do.
fn neighbourly_worker(server: &Server, name: &str) -> Worker {
    let before = server.counts("reverse").2;
    let split = MapReduce::new(
        Client::builder([server.address().into()]).build().unwrap(),
        |text| text.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect(),
        |words| Ok(words.into_iter().flat_map(|word| [word, b"+".to_vec()].concat()).collect::<Vec<u8>>()),
    );
    let port = server.address();
    let worker = worker(server)
        .id(name)
        .function("reverse", |job| Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>()))
        .function("pieces", |job| {
            job.data("one,")?;
            job.warning("careful")?;
            job.progress(1, 2)?;
            job.data("two,")?;
            Ok("three")
        })
        .function_within("fails", Duration::from_secs(30), |_| Err::<&str, _>(JobError::Failed))
        .function("throws", |_| Err::<&str, _>(JobError::exception(*b"broken\0pipe")))
        .function("unique_of", |job| Ok(job.unique().to_vec()))
        .function("guarded", |_| Ok("guarded"))
        .function("until_file", |job| {
            job.progress(3, 7)?;
            let path = String::from_utf8(job.workload().to_vec())?;
            wait_until("the file comes", || Path::new(&path).exists());
            Ok("done")
        })
        .function("version", move |_| {
            let mut connection = crate::support::Connection::open(port);
            connection.send_line("version");
            Ok(connection.read_line())
        })
        .serve("split_words", None, split)
        .start()
        .unwrap();
    wait_until("the worker is registered", || server.counts("reverse").2 == before + 1);
    worker
}

// What the library's own workers are put to in `tests/clients`, with ours.
fn checks(language: Language, server: &Server) {
    let _workers = [neighbourly_worker(server, language.name()), neighbourly_worker(server, language.name())];
    let kind = if server.kind() == Kind::Gearshard { "gearshard" } else { "gearmand" };
    let command = language.command("checks", &server.address().to_string(), &[kind]);
    let output = Process::run(command, b"").success();
    let expected = match (language, server.kind()) {
        (C, Kind::Gearshard) => 17,
        // The last of these makes libgearman hang on the reference.
        (C, Kind::Gearmand) => 16,
        (Php, _) => 8,
        (Perl, _) => 7,
        (Python, _) => 6,
        (Tool, _) => unreachable!("it checks nothing"),
    };
    let passed = output.text().lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, expected, "{}{}", output.text(), output.stderr);
}

// Our client, served by the library's worker.
fn served_by(language: Language, server: &Server) {
    let _worker = language.worker(server);
    let client = client(server);
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let large: Vec<u8> = (0..1u32 << 20).map(|number| (number >> 7) as u8).collect();
    for workload in [b"hello".to_vec(), every_byte, large] {
        let expected: Vec<u8> = workload.iter().rev().copied().collect();
        assert!(client.run(Job::new("reverse", workload)).unwrap() == expected, "{language:?}");
    }
    // gear's worker does few jobs a second.
    let jobs = (0..40).map(|number| Job::new("reverse", format!("job {number}")));
    for (number, result) in client.run_all(jobs, 40) {
        let expected: String = format!("job {number}").chars().rev().collect();
        assert_eq!(result.unwrap(), expected.as_bytes(), "{language:?}");
    }
    if language == Tool {
        return;
    }
    let updates: Vec<Update> = client.submit(Job::new("pieces", "x")).unwrap().map(Result::unwrap).collect();
    assert!(updates.contains(&Update::Warning(b"careful".to_vec())), "{updates:?}");
    assert!(updates.contains(&Update::Progress { numerator: 1, denominator: 2 }), "{updates:?}");
    let data: Vec<u8> = updates
        .iter()
        .flat_map(|update| match update {
            Update::Data(data) | Update::Complete(data) => data.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(data, b"one,two,three", "{language:?}");
    let failed = client.run(Job::new("fails", "x"));
    assert!(matches!(failed, Err(ClientError::Failed)), "{language:?}: {failed:?}");
    let thrown = client.run(Job::new("throws", "x"));
    assert!(matches!(&thrown, Err(ClientError::Exception(data)) if data == b"broken\0pipe"), "{thrown:?}");
}

fn libgearman_is_served(server: &mut Server) {
    checks(C, server);
}

fn php_is_served(server: &mut Server) {
    checks(Php, server);
}

fn perl_is_served(server: &mut Server) {
    checks(Perl, server);
}

fn python_is_served(server: &mut Server) {
    checks(Python, server);
}

fn the_gearman_tool_is_served(server: &mut Server) {
    let _worker = neighbourly_worker(server, "ours");
    let tool = |args: &[&str], input: &str| {
        let mut command = crate::languages::tool(server);
        command.args(args);
        Process::run(command, input.as_bytes())
    };
    assert_eq!(tool(&["-f", "reverse"], "hello").success().text(), "olleh");
    // It sends each line with its end.
    assert_eq!(tool(&["-f", "reverse", "-n"], "ab\ncd\n").success().text(), "\nba\ndc");
    for priority in ["-I", "-L"] {
        assert_eq!(tool(&["-f", "unique_of", "-u", "mine", priority, "x"], "").success().text(), "mine");
    }
    let failed = tool(&["-f", "fails", "x"], "");
    assert_eq!((failed.status.code(), &*failed.stderr), (Some(1), "Job failed\n"));
    assert_eq!(tool(&["-b", "-f", "reverse", "x"], "").success().text(), "");
    wait_until("the background job is done", || server.counts("reverse") == (0, 0, 1));
}

fn every_library_serves_our_client(server: &mut Server) {
    for language in [Tool, C, Php, Perl, Python] {
        served_by(language, server);
        wait_until("the worker has left", || server.counts("reverse").2 == 0);
    }
}

fn libgearmans_partition_serves_our_client(server: &mut Server) {
    let _workers = [C.worker(server), C.worker(server)];
    let joined = client(server).run(Job::new("split_words", "erehwyna krow").reducer("reverse")).unwrap();
    // The library does not promise an order.
    assert!(joined == b"anywhere+work+" || joined == b"work+anywhere+", "{}", joined.escape_ascii());
}

against_both! {
    libgearman_is_served;
    php_is_served;
    perl_is_served;
    python_is_served;
    the_gearman_tool_is_served;
    every_library_serves_our_client;
    libgearmans_partition_serves_our_client;
}

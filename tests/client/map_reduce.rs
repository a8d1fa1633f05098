//! Jobs that are split into jobs.

use crate::support::{Server, wait_until};
use crate::{against_both, client, worker};
use gearshard::client::{ClientError, Job, MapReduce, Update};

fn words(server: &mut Server) {
    let total = MapReduce::new(
        client(server),
        |text| text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect(),
        |counts| {
            let mut total = 0;
            for count in counts {
                total += std::str::from_utf8(&count)?.parse::<u64>()?;
            }
            Ok(total.to_string())
        },
    );
    let joined = MapReduce::new(
        client(server),
        |text| text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect(),
        |parts| Ok(parts.join(&b'|')),
    );
    let _splitting =
        worker(server).serve("total", None, total).serve("joined", None, joined).start().unwrap();
    let _counting = worker(server)
        .concurrency(3)
        .function("count", |job| {
            let text = std::str::from_utf8(job.workload())?;
            Ok(text.split_whitespace().count().to_string())
        })
        .function("picky", |job| match job.take_workload() {
            part if part == b"bad" => Err(gearshard::client::JobError::exception("no good")),
            part => Ok(part),
        })
        .start()
        .unwrap();
    let client = client(server);
    let text = "to be or\nnot to be\n\nthat is\n".repeat(100);
    assert_eq!(client.run(Job::new("total", text.clone()).reducer("count")).unwrap(), b"800");
    let updates: Vec<Update> =
        client.submit(Job::new("joined", "c\na\nb").reducer("picky")).unwrap().map(Result::unwrap).collect();
    assert_eq!(updates.last(), Some(&Update::Complete(b"c|a|b".to_vec())), "in the order of the parts");
    assert!(updates.contains(&Update::Progress { numerator: 3, denominator: 3 }), "{updates:?}");
    let failed = client.run(Job::new("joined", "a\nbad\nb").reducer("picky")).unwrap_err();
    assert!(failed.to_string().contains("part 1: ") && failed.to_string().contains("no good"), "{failed}");
    let unnamed = client.run(Job::new("joined", "a")).unwrap_err();
    assert!(matches!(&unnamed, ClientError::Exception(text) if text.starts_with(b"submit this job with")));
    let handle = client.submit_background(Job::new("total", text).reducer("count")).unwrap();
    wait_until("it runs in the background too", || !client.status(&handle).unwrap().known);
}

against_both! {
    words;
}

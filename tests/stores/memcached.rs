//! gearmand's `libmemcached`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use gearshard::storage::rows::Engine as _;
use gearshard::storage::rows::memcached::Memcached as Engine;

use crate::support::memcached::Memcached as Server;
use crate::{Kind, Rows, Times};

struct Memcached(Server);

impl Kind for Memcached {
    const TIMES: Times = Times::None;

    fn start() -> Self {
        Self(Server::start())
    }

    fn args(&self) -> Vec<String> {
        self.0.server_args().to_vec()
    }
}

impl Rows for Memcached {
    fn gearmand_args(&self) -> Vec<String> {
        self.args()
    }

    fn rows(&self) -> usize {
        let mut count = 0;
        Engine::open(&self.0.address(), "gear_").unwrap().read(&mut |_| count += 1).unwrap();
        count
    }

    fn spoil(&self) -> usize {
        let bad = ["gear_f 0", "gear_f-1 3", "gear_f-2 4000000000"];
        let mut stream = TcpStream::connect(self.0.address()).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        for item in bad {
            stream.write_all(format!("set {item} 0 1\r\nx\r\n").as_bytes()).unwrap();
            assert_eq!(answers.next().unwrap().unwrap(), "STORED");
        }
        bad.len()
    }
}

crate::suite!(memcached, Memcached);
// gearmand's own list of keys is cut short (stats cachedump): it picks up some of what is left.
crate::tests_of! { memcached_rows, Memcached, rows:
    a_row_goes_with_its_job_however_that_ends
    a_job_that_joins_another_writes_nothing
    rows_that_are_no_jobs_are_told_and_left_alone
    a_unique_like_a_made_key_is_refused
    what_gearmand_has_acknowledged_before_a_kill_is_picked_up
}

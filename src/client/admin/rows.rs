//! The rows of an administrator's lists, read from a server's lines.
//!
//! Names are the peers' bytes. They may hold tabs, which is why numbers are
//! looked for from the right, and ends of lines, which is why a row may take
//! several lines. Source: gearmand-spec.md, section 13.

use std::net::IpAddr;
use std::time::Duration;

/// How much of a name that runs over several lines is gathered before it counts as garbage.
const FRAGMENT_BYTES_MAX: usize = 4096;

/// What servers show as the address of a peer at a unix socket.
const UNIX: &str = "unix";

/// How rows that take several lines are told from each other, and read.
#[derive(Clone, Copy)]
pub(super) enum Shape<T> {
    /// A row ends with numbers.
    Ends(fn(&[u8]) -> Option<T>),
    /// A row begins with a number and an address.
    Begins(fn(&[u8]) -> Option<T>),
}

impl<T> Shape<T> {
    /// Whether this line belongs to no row before it.
    pub(super) fn begins(&self, line: &[u8]) -> bool {
        matches!(self, Self::Begins(_)) && begins_peer(line)
    }

    /// The row that is complete, whatever comes next.
    pub(super) fn whole(&self, lines: &[u8]) -> Option<T> {
        match self {
            Self::Ends(read) => read(lines),
            Self::Begins(_) => None,
        }
    }

    /// The row that these lines are.
    pub(super) fn read(&self, lines: &[u8]) -> Option<T> {
        let (Self::Ends(read) | Self::Begins(read)) = self;
        read(lines.strip_suffix(b"\n").unwrap_or(lines))
    }

    /// Whether nothing that may still come makes a row of it.
    pub(super) fn is_hopeless(&self, lines: &[u8]) -> bool {
        match self {
            Self::Ends(_) => lines.len() > FRAGMENT_BYTES_MAX || lines.ends_with(b"\n."),
            Self::Begins(_) => !begins_peer(lines),
        }
    }
}

fn begins_peer(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ').map(std::str::from_utf8);
    let fd = words.next().is_some_and(|fd| fd.is_ok_and(|fd| fd.parse::<i64>().is_ok()));
    // A peer at a unix socket has no address.
    let address = |text: &str| text == UNIX || text.parse::<IpAddr>().is_ok();
    fd && words.next().is_some_and(|text| text.is_ok_and(address))
}

/// A function, from `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionStatus {
    /// Its name.
    pub name: Vec<u8>,
    /// Jobs that wait, run, or have a time that has not come.
    pub total: u64,
    /// Jobs with workers.
    pub running: u64,
    /// Workers that are connected and serve it, busy or not.
    pub workers: u64,
}

impl FunctionStatus {
    /// Jobs without a worker.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.total.saturating_sub(self.running)
    }
}

/// A function's waiting jobs, from `prioritystatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPriorities {
    /// Its name.
    pub name: Vec<u8>,
    /// Waiting jobs of high priority.
    pub high: u64,
    /// Waiting jobs of normal priority.
    pub normal: u64,
    /// Waiting jobs of low priority.
    pub low: u64,
    /// Workers that are connected and serve it, busy or not.
    pub workers: u64,
}

/// What a function has been doing, from `show functions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionActivity {
    /// Its name.
    pub name: Vec<u8>,
    /// Jobs that have ended, one way or the other, since the server knows the function.
    pub ended: u64,
    /// For how long the oldest job has waited that could run at once; zero when there is none.
    pub oldest_waiting: Duration,
}

/// A connection to a server, from `workers`: a worker's, a client's or an administrator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The server's number for it.
    pub fd: i64,
    /// Where it comes from.
    pub address: String,
    /// What it calls itself; `-` when it does not.
    pub id: Vec<u8>,
    /// What it serves; nothing for a client. A name with a space looks like two.
    pub functions: Vec<Vec<u8>>,
}

/// A job that waits or runs, from `show jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedJob {
    /// The server's name for it.
    pub handle: Vec<u8>,
    /// How often it has been lost by a worker.
    pub retries: u64,
    /// Nobody wants it any more, but a worker still has it.
    pub is_dead: bool,
    /// It is kept though nobody waits for it.
    pub is_background: bool,
}

/// The text before the last `N` tabs, and the numbers behind them.
fn numbers<const N: usize>(line: &[u8]) -> Option<(&[u8], [u64; N])> {
    let mut numbers = [0; N];
    let mut rest = line;
    for place in (0..N).rev() {
        let tab = rest.iter().rposition(|&byte| byte == b'\t')?;
        numbers[place] = digits(&rest[tab + 1..])?;
        rest = &rest[..tab];
    }
    Some((rest, numbers))
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn function_status(line: &[u8]) -> Option<FunctionStatus> {
    let (name, [total, running, workers]) = numbers(line)?;
    Some(FunctionStatus { name: name.to_vec(), total, running, workers })
}

pub(super) fn function_priorities(line: &[u8]) -> Option<FunctionPriorities> {
    let (name, [high, normal, low, workers]) = numbers(line)?;
    Some(FunctionPriorities { name: name.to_vec(), high, normal, low, workers })
}

pub(super) fn function_activity(line: &[u8]) -> Option<FunctionActivity> {
    let (name, [ended, oldest_ms]) = numbers(line)?;
    let oldest_waiting = Duration::from_millis(oldest_ms);
    Some(FunctionActivity { name: name.to_vec(), ended, oldest_waiting })
}

pub(super) fn queued_job(line: &[u8]) -> Option<QueuedJob> {
    let (handle, [retries, dead, background]) = numbers(line)?;
    let handle = handle.to_vec();
    Some(QueuedJob { handle, retries, is_dead: dead != 0, is_background: background != 0 })
}

pub(super) fn unique(line: &[u8]) -> Option<Vec<u8>> {
    Some(line.to_vec())
}

// `<fd> <ip> <id> : <f1> <f2>...`
pub(super) fn peer(line: &[u8]) -> Option<Peer> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (fd, address, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let fd = std::str::from_utf8(fd).ok()?.parse().ok()?;
    let colon = rest.windows(2).position(|pair| pair == b" :")?;
    let (id, functions) = (&rest[..colon], &rest[colon + 2..]);
    if !functions.is_empty() && functions[0] != b' ' {
        return None;
    }
    let functions = functions.split(|&byte| byte == b' ').filter(|name| !name.is_empty());
    Some(Peer {
        fd,
        address: String::from_utf8_lossy(address).into_owned(),
        id: id.to_vec(),
        functions: functions.map(<[u8]>::to_vec).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_looked_for_from_the_right() {
        let row = function_status(b"a\tb\t3\t1\t2").unwrap();
        assert_eq!((&*row.name, row.total, row.running, row.workers), (&b"a\tb"[..], 3, 1, 2));
        assert_eq!(row.waiting(), 2);
        for bad in [&b""[..], b"f", b"f\t1\t2", b"f\t1\t2\t-1", b"f\t1\t\t1", b"f\t1\t2\tx", b"HTTP/1.1 400"]
        {
            assert_eq!(function_status(bad), None, "{bad:?}");
        }
        let huge = b"f\t99999999999999999999999\t0\t0";
        assert_eq!(function_status(huge), None);
        let job = queued_job(b"H:host:17\t2\t1\t0").unwrap();
        assert_eq!(
            (&*job.handle, job.retries, job.is_dead, job.is_background),
            (&b"H:host:17"[..], 2, true, false)
        );
    }

    #[test]
    fn peers_are_read_whatever_they_call_themselves() {
        let cases: [(&str, Option<(&str, usize)>); 8] = [
            ("33 127.0.0.1 - :", Some(("-", 0))),
            ("33 ::1 one two : f g", Some(("one two", 2))),
            ("33 127.0.0.1  : f", Some(("", 1))),
            ("33 127.0.0.1 a:b : f", Some(("a:b", 1))),
            ("-1 127.0.0.1 - :  f", Some(("-", 1))),
            ("33 127.0.0.1 -", None),
            ("x 127.0.0.1 - :", None),
            ("HTTP/1.1 400 Bad Request", None),
        ];
        for (line, expected) in cases {
            let read = peer(line.as_bytes());
            let read =
                read.as_ref().map(|peer| (std::str::from_utf8(&peer.id).unwrap(), peer.functions.len()));
            assert_eq!(read, expected, "{line}");
        }
    }
}
